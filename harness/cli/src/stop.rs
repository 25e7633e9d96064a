//! How a command ends without success.

use evidence::exit::Exit;

/// How a command ends without success: a message for the user and an exit code.
#[derive(Debug)]
pub struct Stop {
    /// The program's exit code.
    pub(super) exit: Exit,
    /// The message for the user.
    pub(super) message: String,
}

impl Stop {
    pub(super) fn new(exit: Exit, message: impl ToString) -> Self {
        Stop { exit, message: message.to_string() }
    }
}
