//! Why a trial failed, in words for a person.

use std::fmt;

/// A trial's failure. Made from any error by `?`, or by [`fail!`](crate::fail) and
/// [`require!`](crate::require).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
}

impl Failure {
    /// A failure that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into() }
    }

    /// Puts `what` before the message: what was being done when it happened.
    #[must_use]
    pub fn while_doing(self, what: impl fmt::Display) -> Self {
        Failure { message: format!("{what}: {}", self.message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// `Failure` is deliberately no `std::error::Error`, so that every error converts into it.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Failure { message }
    }
}

/// Adds what was being done to an error.
pub trait While<T> {
    /// Puts `what` before the error's message.
    ///
    /// # Errors
    /// The error it was given, as a [`Failure`].
    fn when(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> While<T> for Result<T, E> {
    fn when(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| error.into().while_doing(what))
    }
}

/// Returns a [`Failure`] with a formatted message.
#[macro_export]
macro_rules! fail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::failure::Failure::new(format!($($message)+)))
    };
}

/// Returns a [`Failure`] with a formatted message unless the condition holds.
#[macro_export]
macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::fail!($($message)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_being_done() {
        let result: Result<(), std::io::Error> = Err(std::io::Error::other("no space"));
        assert_eq!(
            result.when("writing a.f32").unwrap_err().to_string(),
            "writing a.f32: no space"
        );
    }
}
