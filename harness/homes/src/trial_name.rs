//! The name of the trial that this thread runs, for messages: the first trial whose daemon does not
//! start says why, and the others refer to it by name.

use std::cell::RefCell;

thread_local! {
    static CURRENT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The trial that this thread runs.
pub fn current() -> Option<String> {
    CURRENT.with_borrow(Clone::clone)
}

/// Sets the trial that this thread runs from now on.
pub fn set(trial: Option<String>) {
    CURRENT.set(trial);
}
