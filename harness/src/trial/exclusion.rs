//! Trials that must have the machine for themselves, across threads and processes.
//!
//! Every trial holds the lock shared while it runs; one that measures, or that loads the module,
//! holds it alone. nextest's own `threads-required` does the same within one run; this also holds
//! under `cargo test` and between two runs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::failure::{Failure, While};

/// Longest wait for others to finish: more than the longest trial takes under emulation.
const LIMIT: Duration = Duration::from_secs(30 * 60);
const POLL: Duration = Duration::from_millis(20);

/// How a trial shares the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// With any number of others.
    Shared,
    /// With none.
    Alone,
}

fn lock_file() -> PathBuf {
    std::env::temp_dir().join("vexfs-validation.lock")
}

/// Waits for the machine; it is released when the result is dropped.
///
/// # Errors
/// Where the lock file cannot be opened, or the others take longer than half an hour.
pub fn take(exclusion: Exclusion) -> Result<Flock<File>, Failure> {
    let path = lock_file();
    let mut file = OpenOptions::new()
        .read(true)
        .open(&path)
        .or_else(|_| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o666).open(&path)
        })
        .when(path.display())?;
    let argument = match exclusion {
        Exclusion::Shared => FlockArg::LockSharedNonblock,
        Exclusion::Alone => FlockArg::LockExclusiveNonblock,
    };
    let deadline = Instant::now() + LIMIT;
    loop {
        match Flock::lock(file, argument) {
            Ok(lock) => return Ok(lock),
            Err((unlocked, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = unlocked,
            Err((_, Errno::EWOULDBLOCK)) => crate::fail!(
                "other trials hold {} for more than {} minutes; end them and try again",
                path.display(),
                LIMIT.as_secs() / 60
            ),
            Err((_, errno)) => return Err(Failure::from(errno)).when(path.display()),
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_with_shared_and_alone_with_none() {
        let first = take(Exclusion::Shared).unwrap();
        let second = take(Exclusion::Shared).unwrap();
        let file = OpenOptions::new().read(true).open(lock_file()).unwrap();
        let refused = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        assert!(refused.is_err());
        drop((first, second));
    }
}
