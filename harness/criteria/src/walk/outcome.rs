//! What came of a step.

use std::io;

use nix::errno::Errno;

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and told this.
    Done(String),
    /// It was refused with this errno.
    Refused(Errno),
    /// The referee has no answer: the contract leaves it free, for this reason of
    /// [`super::exceptions`].
    Free(&'static str),
}

impl Outcome {
    /// Of a call that tells nothing.
    pub fn of(result: io::Result<()>) -> Outcome {
        Outcome::told(result.map(|()| String::new()))
    }

    /// Of a call that tells something.
    pub fn told(result: io::Result<String>) -> Outcome {
        match result {
            Ok(told) => Outcome::Done(told),
            Err(error) => {
                Outcome::Refused(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
            }
        }
    }

    /// In a word or two, as the script writes it, too.
    pub fn words(&self) -> String {
        match self {
            Outcome::Done(told) if told.is_empty() => "done".to_owned(),
            Outcome::Done(told) => format!("done: {told}"),
            Outcome::Refused(errno) => format!("{errno:?}"),
            Outcome::Free(why) => format!("free: {why}"),
        }
    }

    /// `done` or the errno.
    pub fn cell(&self) -> String {
        match self {
            Outcome::Done(_) => "done".to_owned(),
            other => other.words(),
        }
    }
}
