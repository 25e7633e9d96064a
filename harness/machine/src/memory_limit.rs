//! Limits on the memory of a process of ours: what it reads from a faulty file system may have no end.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::failure::{Failure, WithContext};

/// How many bytes of memory of its own a part may have; no part needs a tenth of that. A file or a
/// directory without an end would otherwise exhaust the machine's memory. Mappings of files, which
/// the parts test, do not count.
pub const MOST_MEMORY: rlim_t = 2 << 30;

/// Gives the program of `command` a limit of `bytes`, which what it starts has as well.
pub(crate) fn set(command: &mut Command, bytes: rlim_t) {
    // SAFETY: between fork and exec only setrlimit(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?));
    }
}

/// The soft and the hard limit before [`limit`].
static BEFORE: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Limits this process, but not the programs that it starts, to [`MOST_MEMORY`].
///
/// # Errors
/// If the system refuses the limit.
pub fn limit() -> Result<(), Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_DATA).context("getrlimit")?;
    let (soft, hard) = *BEFORE.get_or_init(|| (soft, hard));
    setrlimit(Resource::RLIMIT_DATA, soft.min(MOST_MEMORY), hard).context("setrlimit")
}

/// Gives the program of `command` the memory limit that this process had before [`limit`].
pub fn without_ours(command: &mut Command) {
    let Some(&(soft, hard)) = BEFORE.get() else { return };
    // SAFETY: between fork and exec only setrlimit(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            let (_, hardest) = getrlimit(Resource::RLIMIT_DATA)?;
            // A part's own limit, which was set before, stays.
            if hardest < hard { Ok(()) } else { Ok(setrlimit(Resource::RLIMIT_DATA, soft, hard)?) }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::child::Running;

    /// A program that reads without end is stopped by its own limit, before the machine runs out of
    /// memory.
    #[test]
    fn memory_is_limited() {
        let mut endless = Command::new("tail");
        set(endless.arg("/dev/zero"), 64 << 20);
        let ended = Running::start(&mut endless).unwrap().finish(Duration::from_secs(60)).unwrap();
        assert!(!ended.status.success() && ended.output.contains("memory"), "{}", ended.output);
    }

    #[test]
    fn our_own_limit_is_not_that_of_the_programs_we_start() {
        let limit = || {
            let mut shell = Command::new("sh");
            shell.args(["-c", "ulimit -d"]);
            Running::start(&mut shell).unwrap().finish(Duration::from_secs(60)).unwrap().output
        };
        let before = limit();
        super::limit().unwrap();
        super::limit().unwrap();
        let (ours, _) = getrlimit(Resource::RLIMIT_DATA).unwrap();
        assert!(ours <= MOST_MEMORY, "{ours}");
        assert_eq!(limit(), before);
        // A part has a limit of its own, which a second one does not lift.
        let mut limited = Command::new("sh");
        set(limited.args(["-c", "ulimit -d"]), 64 << 20);
        let ended = Running::start(&mut limited).unwrap().finish(Duration::from_secs(60)).unwrap();
        assert_eq!(ended.output.trim(), (64 << 10).to_string());
    }
}
