//! A daemon that does not start, and in what way it fails to: the advice depends on it.

use machine::failure::Failure;

/// In what way a daemon does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It cannot be run.
    NotRun,
    /// It ends, and says that it failed.
    Ends,
    /// It ends and says that all is well: it has gone to the background, or done nothing.
    Background,
    /// It runs and mounts nothing.
    NoMount,
    /// It mounts, and does not answer.
    NoAnswer,
}

/// A daemon that did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted {
    /// In what way.
    pub how: How,
    /// What it was run as, and what it said.
    pub failure: Failure,
}

impl From<Failure> for NotStarted {
    fn from(failure: Failure) -> Self {
        NotStarted { how: How::NotRun, failure }
    }
}
