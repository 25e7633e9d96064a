//! The kernel's end of a FUSE connection: aborting it unblocks every caller that waits for the daemon.

use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::Failure;
use machine::mount::{Entry, entries};
use nix::mount::{MntFlags, umount2};
use nix::unistd::geteuid;

/// Where the kernel lists its connections, where that is mounted (`fusectl`).
const CONNECTIONS: &str = "/sys/fs/fuse/connections";
const FUSECTL: &CStr = c"fusectl";
/// `FSOPEN_CLOEXEC`, `FSCONFIG_CMD_CREATE` and `FSMOUNT_CLOEXEC` of linux/mount.h.
const OPEN_CLOEXEC: libc::c_uint = 1;
const CREATE: libc::c_uint = 6;
const MOUNT_CLOEXEC: libc::c_uint = 1;

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

/// The file by which a connection is aborted. It stands for this one alone, whichever has its number
/// later, and also when its mount has been detached, and so has no path, by a daemon that then hangs.
#[derive(Debug)]
pub(crate) struct Abort(File);

impl Abort {
    /// That of `connection`: where fusectl is mounted, and for root everywhere.
    pub(crate) fn of(connection: &Connection) -> Option<Abort> {
        let name = format!("{}/abort", connection.number);
        let mut write = File::options();
        write.write(true);
        let opened = write.open(Path::new(CONNECTIONS).join(&name)).or_else(|_| {
            let list = list()?;
            write.open(format!("/proc/self/fd/{}/{name}", list.as_raw_fd()))
        });
        opened.ok().map(Abort)
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        // Where the connection is gone, nothing happens.
        let _ = self.0.write(b"1");
    }
}

/// fusectl, mounted nowhere.
fn list() -> io::Result<OwnedFd> {
    let opened = |returned: libc::c_long| match i32::try_from(returned) {
        // SAFETY: a system call has just opened it, for us.
        Ok(descriptor @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: a string that ends in a zero, and a number.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, FUSECTL.as_ptr(), OPEN_CLOEXEC) };
    let context = opened(context)?;
    let (number, none) = (context.as_raw_fd(), ptr::null::<libc::c_char>());
    // SAFETY: this command takes neither a key nor a value.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, number, CREATE, none, none, 0) };
    if created == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: numbers only.
    opened(unsafe { libc::syscall(libc::SYS_fsmount, number, MOUNT_CLOEXEC, 0) })
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
