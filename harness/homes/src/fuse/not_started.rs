//! A daemon that does not start, and in which way: the advice to its author depends on that.

use machine::failure::Failure;

/// The way in which a daemon does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It cannot be run.
    NotRun,
    /// It ends and reports a failure.
    Ends,
    /// It ends and reports success: it has gone to the background, or has done nothing.
    Background,
    /// It runs, but mounts nothing.
    NoMount,
    /// It mounts, but does not answer.
    NoAnswer,
}

/// A daemon that did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted {
    /// In which way it did not start.
    pub how: How,
    /// The command that was run, and its output.
    pub failure: Failure,
}

impl From<Failure> for NotStarted {
    fn from(failure: Failure) -> Self {
        NotStarted { how: How::NotRun, failure }
    }
}
