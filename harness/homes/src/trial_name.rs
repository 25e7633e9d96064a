//! What the trial is called that this thread runs, for messages: many trials mount, and what keeps
//! the daemon from starting is said by the first of them.

use std::cell::RefCell;

thread_local! {
    static CURRENT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The trial that this thread runs.
pub fn current() -> Option<String> {
    CURRENT.with_borrow(Clone::clone)
}

/// Says which trial this thread runs from now on.
pub fn set(trial: Option<String>) {
    CURRENT.set(trial);
}
