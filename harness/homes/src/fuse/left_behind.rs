//! What a daemon left running: processes that were started by it, whatever session or parent they
//! have by now.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// Variable by which everything that a daemon starts is known: the mount point, which is nobody
/// else's.
pub(super) const VARIABLE: &str = "VEXFS_VALIDATION_MOUNT";

/// Kills them, until none comes after: one that starts others may be quicker for a while.
pub(super) fn kill(mountpoint: &Path) {
    const MOST: usize = 100;
    for _ in 0..MOST {
        let left = processes(mountpoint);
        if left.is_empty() {
            return;
        }
        for process in left {
            let _ = signal::kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}

/// A process.
pub(super) struct LeftProcess {
    pub(super) pid: i32,
    /// `/proc/PID/comm`.
    pub(super) name: String,
}

/// The processes that the daemon of `mountpoint`, or the daemon itself, has left.
pub(super) fn processes(mountpoint: &Path) -> Vec<LeftProcess> {
    let mut entry = OsString::from(VARIABLE).into_vec();
    entry.push(b'=');
    entry.extend_from_slice(mountpoint.as_os_str().as_bytes());
    let own = std::process::id().cast_signed();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .filter(|&pid: &i32| pid != own)
        .filter(|pid| {
            // Of another user's it cannot be read, and none of them is the daemon's.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|one| one == entry)
        })
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            LeftProcess { pid, name: name.trim_end().to_owned() }
        })
        .collect()
}
