//! Why a trial failed, in words for a person.

use std::panic::Location;
use std::{fmt, io};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// A trial's failure. The operator `?` makes one from any error; so do [`fail!`](crate::fail) and
/// [`require!`](crate::require). One process may send it to another, without its source position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    message: String,
    #[serde(with = "errno_as_number")]
    errno: Option<Errno>,
    means: Means,
    /// The source position at which an error became a failure, unless context was added.
    #[serde(skip)]
    at: Option<&'static Location<'static>>,
}

/// What a failure means for the claim under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Means {
    /// The claim does not hold.
    Fails,
    /// The data that would decide the claim was lost.
    Undecided,
    /// The claim was not tried.
    NotTried,
}

mod errno_as_number {
    use super::{Deserialize, Errno, Serialize};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        errno: &Option<Errno>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        errno.map(|errno| errno as i32).serialize(serializer)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Option<Errno>, D::Error> {
        Ok(Option::<i32>::deserialize(deserializer)?.map(Errno::from_raw))
    }
}

impl Failure {
    /// A failure that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), errno: None, means: Means::Fails, at: None }
    }

    /// The claim is undecided: the data that would decide it was lost.
    pub fn undecided(message: impl Into<String>) -> Self {
        Failure { means: Means::Undecided, ..Failure::new(message) }
    }

    /// The claim was not tried: an earlier trial found a fault that makes this one fail as well.
    pub fn not_tried(message: impl Into<String>) -> Self {
        Failure { means: Means::NotTried, ..Failure::new(message) }
    }

    /// Converts a panic into a failure.
    pub fn of_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "without a message".to_owned());
        Failure::new(format!("panicked: {text}"))
    }

    /// Whether it leaves the claim undecided.
    pub fn is_undecided(&self) -> bool {
        self.means == Means::Undecided
    }

    /// Whether the claim was not tried at all.
    pub fn is_not_tried(&self) -> bool {
        self.means == Means::NotTried
    }

    /// The source position at which the error occurred, if its message has no context.
    pub fn place(&self) -> Option<String> {
        self.at.map(|at| format!("{}:{}", at.file(), at.line()))
    }

    /// The errno, if a system call failed with one.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// Records the `errno` with which a system call failed.
    #[must_use]
    pub fn with_errno(self, errno: Option<Errno>) -> Self {
        Failure { errno, ..self }
    }

    /// Appends `what` to the message: a consequence, or a possible explanation.
    #[must_use]
    pub fn and_then(self, what: impl fmt::Display) -> Self {
        Failure { message: format!("{}{what}", self.message), ..self }
    }

    /// Prefixes the message with what was being done.
    #[must_use]
    pub fn context(self, what: impl fmt::Display) -> Self {
        Failure { message: format!("{what}: {}", self.message), at: None, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// `Failure` is deliberately no `std::error::Error`, so that every error converts into it.
impl<E: std::error::Error + 'static> From<E> for Failure {
    /// Mostly called by `?`, whose position in the sources is recorded.
    #[track_caller]
    fn from(error: E) -> Self {
        let errno = errno_of(&error);
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Failure { message, errno, means: Means::Fails, at: Some(Location::caller()) }
    }
}

fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    if let Some(errno) = error.downcast_ref::<Errno>() {
        return Some(*errno);
    }
    if let Some(errno) = error.downcast_ref::<rustix::io::Errno>() {
        return Some(Errno::from_raw(errno.raw_os_error()));
    }
    error.downcast_ref::<io::Error>()?.raw_os_error().map(Errno::from_raw)
}

/// Adds what was being done to an error.
pub trait WithContext<T> {
    /// Prefixes the error's message with `what` was being done.
    ///
    /// # Errors
    /// The original error, as a [`Failure`].
    fn context(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> WithContext<T> for Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| error.into().context(what))
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
            result.context("writing a.f32").unwrap_err().to_string(),
            "writing a.f32: no space"
        );
    }

    #[test]
    fn knows_where_a_bare_error_came_up() {
        let bare = || -> Result<(), Failure> {
            Err(io::Error::from_raw_os_error(libc::ENOSYS))?;
            Ok(())
        };
        let place = bare().unwrap_err().place().unwrap_or_default();
        assert!(place.contains("failure.rs:"), "{place}");
        let told = bare().context("symlink(2)").unwrap_err();
        assert_eq!((told.place(), told.errno()), (None, Some(Errno::ENOSYS)));
    }

    #[test]
    fn a_failure_survives_serialisation() {
        let failed = Failure::from(Errno::ENOSPC).context("write");
        for failure in [failed, Failure::undecided("lost"), Failure::not_tried("none")] {
            let sent = serde_json::to_vec(&failure).unwrap();
            assert_eq!(serde_json::from_slice::<Failure>(&sent).unwrap(), failure);
        }
    }

    #[test]
    fn knows_the_errno_of_a_system_call() {
        let failed = |errno| io::Error::from_raw_os_error(errno);
        let result: Result<(), io::Error> = Err(failed(libc::ENOSYS));
        assert_eq!(result.context("rename").unwrap_err().errno(), Some(Errno::ENOSYS));
        assert_eq!(Failure::from(Errno::EIO).errno(), Some(Errno::EIO));
        assert_eq!(Failure::from(rustix::io::Errno::XDEV).errno(), Some(Errno::EXDEV));
        assert_eq!(Failure::from(io::Error::other("no space")).errno(), None);
    }
}
