//! A command's end other than success.

use evidence::exit::Exit;

/// A command's end other than success: what to tell the person, and the exit code.
#[derive(Debug)]
pub struct Stop {
    /// What the program ends with.
    pub(super) exit: Exit,
    /// What to tell the person.
    pub(super) message: String,
}

impl Stop {
    pub(super) fn new(exit: Exit, message: impl ToString) -> Self {
        Stop { exit, message: message.to_string() }
    }
}
