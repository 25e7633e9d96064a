//! Polling with a deadline.

use std::fmt;
use std::time::{Duration, Instant};

use crate::failure::Failure;

const POLL: Duration = Duration::from_millis(5);

/// Calls `look` every few milliseconds until it returns a value.
///
/// # Errors
/// The error of `look`, or a timeout that names `what`.
pub fn wait_for<T>(
    what: impl fmt::Display,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        crate::require!(Instant::now() < deadline, "{what}: not within {} s", limit.as_secs());
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_value_or_names_what_did_not_come() {
        let mut looks = 0;
        let found = wait_for("the third look", Duration::from_secs(10), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
        let never = wait_for::<()>("a miracle", Duration::ZERO, || Ok(None));
        assert_eq!(never.unwrap_err().to_string(), "a miracle: not within 0 s");
    }
}
