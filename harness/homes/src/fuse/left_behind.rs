//! Processes that a daemon left running: everything that it has started, whatever session or parent
//! they have now.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
#[cfg(test)]
use std::process::Command;
use std::time::{Duration, Instant};

use machine::deadline::wait_for;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// Environment variable that marks everything a daemon starts. Its value is the mount point, which
/// is unique to the daemon.
pub(super) const VARIABLE: &str = "VEXFS_VALIDATION_MOUNT";

/// How long to keep killing, because a process may start others meanwhile.
const MOST: Duration = Duration::from_secs(10);
/// How long to wait for a process that is about to execute another program and shows no environment
/// until then.
const IN_BETWEEN: Duration = Duration::from_secs(1);

/// Kills these processes until no more of them appear. A process that starts others may be faster
/// for a while, and on a busy machine a process may become visible late.
pub(super) fn kill(mountpoint: &Path) {
    let begun = Instant::now();
    let _ = wait_for("", MOST, || {
        let Seen { left, in_between } = look(mountpoint);
        for process in &left {
            let _ = signal::kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        let settled = !in_between || begun.elapsed() >= IN_BETWEEN;
        Ok((left.is_empty() && settled).then_some(()))
    });
}

/// A process.
pub(super) struct LeftProcess {
    pub(super) pid: i32,
    /// `/proc/PID/comm`.
    pub(super) name: String,
}

/// The result of looking at all processes.
struct Seen {
    left: Vec<LeftProcess>,
    /// Whether there is a process about which nothing can be said at the moment.
    in_between: bool,
}

/// The processes that the daemon of `mountpoint` has left, including the daemon itself.
pub(super) fn processes(mountpoint: &Path) -> Vec<LeftProcess> {
    look(mountpoint).left
}

fn look(mountpoint: &Path) -> Seen {
    let mut entry = OsString::from(VARIABLE).into_vec();
    entry.push(b'=');
    entry.extend_from_slice(mountpoint.as_os_str().as_bytes());
    let own = std::process::id().cast_signed();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let mut seen = Seen { left: Vec::new(), in_between: false };
    for pid in numbers.filter(|&pid: &i32| pid != own) {
        // The environment of another user's process cannot be read, but such a process does not
        // belong to the daemon.
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        if environment.is_empty() {
            seen.in_between |= runs_a_program(pid);
        } else if environment.split(|&byte| byte == 0).any(|one| one == entry) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            seen.left.push(LeftProcess { pid, name: name.trim_end().to_owned() });
        }
    }
    seen
}

/// Whether the process has memory of its own, so is neither a kernel thread nor one that has ended.
fn runs_a_program(pid: i32) -> bool {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields after the name, which may contain blanks: state, parent, group, session, terminal, its
    // group, flags.
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut words = rest.split_whitespace();
    let state = words.next();
    let flags: u32 = words.nth(5).and_then(|word| word.parse().ok()).unwrap_or(PF_KTHREAD);
    !matches!(state, Some("Z" | "X")) && flags & PF_KTHREAD == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_its_own_session_is_seen_and_killed() {
        let mountpoint = Path::new("/nonexistent/left-behind");
        let mut setsid = Command::new("setsid");
        setsid.args(["--fork", "sleep", "600"]).env(VARIABLE, mountpoint);
        assert!(setsid.status().unwrap().success());
        // Whether it already runs its program or not.
        kill(mountpoint);
        assert!(processes(mountpoint).is_empty());
    }

    #[test]
    fn the_kernels_threads_are_no_programs() {
        assert!(runs_a_program(std::process::id().cast_signed()));
        assert!(!runs_a_program(2), "kthreadd");
    }
}
