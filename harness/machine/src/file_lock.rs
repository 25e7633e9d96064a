//! File locks (flock(2)), waited for with a limit.

use std::fs::{File, TryLockError};
use std::time::Duration;

use crate::deadline::wait_for;
use crate::failure::Failure;
use crate::require;

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Any number of processes may hold it in this way.
    Shared,
    /// No other process may hold it.
    Alone,
}

/// A locked file. It is unlocked on drop, even if a child has inherited the descriptor.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Locks `file` as soon as no other holder prevents it; gives up when `interrupted` returns
    /// true.
    ///
    /// # Errors
    /// If others hold the lock for longer than `limit` (naming `what` was waited for), the wait is
    /// interrupted, or flock(2) fails.
    pub fn wait(
        file: File,
        sharing: Sharing,
        what: &str,
        limit: Duration,
        interrupted: fn() -> bool,
    ) -> Result<FileLock, Failure> {
        wait_for(what, limit, || {
            require!(!interrupted(), "interrupted while waiting for {what}");
            let locked = match sharing {
                Sharing::Shared => file.try_lock_shared(),
                Sharing::Alone => file.try_lock(),
            };
            match locked {
                Ok(()) => Ok(Some(())),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(Failure::from(error)),
            }
        })?;
        Ok(FileLock(file))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file would unlock it too, but only when no child has it open any more.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_shared_or_held_alone() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let lock = |sharing, interrupted| {
            FileLock::wait(File::open(&path)?, sharing, "the lock", Duration::ZERO, interrupted)
        };
        let never = || false;
        let shared = (lock(Sharing::Shared, never).unwrap(), lock(Sharing::Shared, never).unwrap());
        let said = lock(Sharing::Alone, never).unwrap_err().to_string();
        assert_eq!(said, "the lock: not within 0 s");
        // A second descriptor of the same open file, such as a child inherits.
        let inherited = shared.0.0.try_clone().unwrap();
        drop(shared);
        let alone = lock(Sharing::Alone, never).unwrap();
        lock(Sharing::Shared, never).unwrap_err();
        let said = lock(Sharing::Shared, || true).unwrap_err().to_string();
        assert_eq!(said, "interrupted while waiting for the lock");
        drop((alone, inherited));
    }
}
