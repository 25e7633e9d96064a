//! The kernel's end of a FUSE connection: aborting it unblocks every caller that waits for the daemon.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::Failure;
use machine::mount::{Entry, entries};
use nix::mount::{MntFlags, umount2};
use nix::unistd::geteuid;

/// Where the kernel lists its connections, where that is mounted (`fusectl`).
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// A FUSE connection, which is known by the mount's device number: its mount may be on its way
/// out, and then has no path any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    number: u32,
    mountpoint: PathBuf,
}

impl Connection {
    /// That of the mount on `mountpoint`, whose parent must not be a symbolic link; the daemon is
    /// not asked.
    pub(crate) fn of(mountpoint: &Path) -> Result<Option<Connection>, Failure> {
        // What else is mounted over it does not matter.
        let there = |one: &&Entry| one.at == mountpoint.as_os_str().as_bytes();
        Ok(entries()?.iter().rev().filter(there).find_map(|one| behind(one, mountpoint)))
    }

    /// Ends every request that waits, and all that come, with ECONNABORTED: also where the daemon
    /// is in an uninterruptible sleep of its own making, so that SIGKILL does not end it.
    pub(crate) fn abort(&self) {
        let file = format!("{CONNECTIONS}/{}/abort", self.number);
        let aborted = File::options().write(true).open(file).and_then(|mut file| file.write(b"1"));
        if aborted.is_err() && geteuid().is_root() {
            // It fails with EBUSY while files are open, and has aborted by then.
            let _ = umount2(&self.mountpoint, MntFlags::MNT_FORCE);
        }
    }
}

/// The connection behind a mount, if it is FUSE's.
fn behind(mount: &Entry, mountpoint: &Path) -> Option<Connection> {
    let is_fuse = mount.kind == b"fuse" || mount.kind.starts_with(b"fuse.");
    // An anonymous device's number is its minor one.
    let number = mount.device.strip_prefix(b"0:").and_then(|minor| str::from_utf8(minor).ok());
    let number = number.and_then(|minor| minor.parse().ok())?;
    is_fuse.then(|| Connection { number, mountpoint: mountpoint.to_owned() })
}

/// How long mounts may resist: of a daemon that mounts on, or in the moment in which somebody forks.
const RESISTANCE: Duration = Duration::from_secs(10);

/// Takes down whatever is mounted at `directory` or beneath it, however often, and aborts those
/// of FUSE first; whether nothing is left.
pub(crate) fn detach_all(directory: &Path) -> bool {
    let emptied = wait_for("", RESISTANCE, || {
        for one in entries()?.iter().rev().filter(|one| one.is_beneath(directory)) {
            let at = Path::new(OsStr::from_bytes(&one.at));
            if let Some(connection) = behind(one, at) {
                connection.abort();
            }
            // That may have taken it down by itself, and so may its daemon: what counts is that it
            // is gone.
            detach(at);
        }
        Ok((!entries()?.iter().any(|one| one.is_beneath(directory))).then_some(()))
    });
    emptied.is_ok()
}

/// Detaches the mount at `at`, even if it is in use.
pub(super) fn detach(at: &Path) {
    if geteuid().is_root() {
        let _ = umount2(at, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
    } else {
        let mut command = Command::new("fusermount3");
        let _ = command.args(["-u", "-z", "-q"]).arg(at).status();
    }
}

/// Removes `directory` once nothing is mounted there: never what a file system of somebody's holds.
pub(crate) fn remove(directory: &Path) {
    let unmounted = entries().is_ok_and(|all| !all.iter().any(|one| one.is_beneath(directory)));
    if unmounted {
        let _ = fs::remove_dir_all(directory);
    }
}
