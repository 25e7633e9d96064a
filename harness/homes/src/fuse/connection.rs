//! The kernel's end of a FUSE connection. Aborting it unblocks every caller that waits for the
//! daemon.

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
use machine::mount::{Entry, entries, holders_elsewhere};
use nix::mount::{MntFlags, umount2};
use nix::unistd::geteuid;

/// The directory in which the kernel lists its connections, if `fusectl` is mounted there.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";
const FUSECTL: &CStr = c"fusectl";
/// `FSOPEN_CLOEXEC`, `FSCONFIG_CMD_CREATE` and `FSMOUNT_CLOEXEC` from linux/mount.h.
const OPEN_CLOEXEC: libc::c_uint = 1;
const CREATE: libc::c_uint = 6;
const MOUNT_CLOEXEC: libc::c_uint = 1;

/// A FUSE connection, identified by the mount's device number: while a mount is being detached, it
/// no longer has a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    number: u32,
    mountpoint: PathBuf,
}

impl Connection {
    /// The connection of the mount on `mountpoint`, whose parent must not be a symbolic link. The
    /// daemon is not asked.
    pub(crate) fn of(mountpoint: &Path) -> Result<Option<Connection>, Failure> {
        // Other mounts over it do not matter.
        let there = |one: &&Entry| one.at == mountpoint.as_os_str().as_bytes();
        Ok(entries()?.iter().rev().filter(there).find_map(|one| behind(one, mountpoint)))
    }

    /// The processes in other mount namespaces in which the mount still exists.
    pub(crate) fn holders_elsewhere(&self) -> Vec<String> {
        holders_elsewhere(format!("0:{}", self.number).as_bytes())
    }

    /// Ends all waiting and future requests with ECONNABORTED. This works even if the daemon waits
    /// uninterruptibly for its own mount, so that SIGKILL does not end it.
    pub(crate) fn abort(&self) {
        let file = format!("{CONNECTIONS}/{}/abort", self.number);
        let aborted = File::options().write(true).open(file).and_then(|mut file| file.write(b"1"));
        if aborted.is_err() && geteuid().is_root() {
            // This fails with EBUSY while files are open, but has aborted the connection by then.
            let _ = umount2(&self.mountpoint, MntFlags::MNT_FORCE);
        }
    }
}

/// The file that aborts a connection. It stands for this connection alone, even if another one gets
/// its number later, and even if a daemon that then hangs has detached the mount, so that it has no
/// path.
#[derive(Debug)]
pub(crate) struct Abort(File);

impl Abort {
    /// The abort file of `connection`. It is available if fusectl is mounted, and always to root.
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
        // If the connection has gone, this does nothing.
        let _ = self.0.write(b"1");
    }
}

/// An instance of fusectl that is not mounted anywhere.
fn list() -> io::Result<OwnedFd> {
    let opened = |returned: libc::c_long| match i32::try_from(returned) {
        // SAFETY: a system call has just opened this descriptor, and nobody else owns it.
        Ok(descriptor @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the arguments are a string that ends with a zero byte, and a number.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, FUSECTL.as_ptr(), OPEN_CLOEXEC) };
    let context = opened(context)?;
    let (number, none) = (context.as_raw_fd(), ptr::null::<libc::c_char>());
    // SAFETY: this command takes neither a key nor a value.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, number, CREATE, none, none, 0) };
    if created == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all arguments are numbers.
    opened(unsafe { libc::syscall(libc::SYS_fsmount, number, MOUNT_CLOEXEC, 0) })
}

/// The connection of a mount, if it is a FUSE mount.
fn behind(mount: &Entry, mountpoint: &Path) -> Option<Connection> {
    let is_fuse = mount.kind == b"fuse" || mount.kind.starts_with(b"fuse.");
    // The connection's number is the minor number of the mount's anonymous device.
    let number = mount.device.strip_prefix(b"0:").and_then(|minor| str::from_utf8(minor).ok());
    let number = number.and_then(|minor| minor.parse().ok())?;
    is_fuse.then(|| Connection { number, mountpoint: mountpoint.to_owned() })
}

/// How long mounts may resist: a daemon may mount again, or somebody may be forking at the moment.
const RESISTANCE: Duration = Duration::from_secs(10);

/// Takes down everything that is mounted at or below `directory`, aborting FUSE connections first.
/// Returns whether nothing is left.
pub(crate) fn detach_all(directory: &Path) -> bool {
    let emptied = wait_for("", RESISTANCE, || {
        for one in entries()?.iter().rev().filter(|one| one.is_beneath(directory)) {
            let at = Path::new(OsStr::from_bytes(&one.at));
            if let Some(connection) = behind(one, at) {
                connection.abort();
            }
            // The abort, or the daemon, may already have unmounted it; what counts is that it is
            // gone.
            detach(at);
        }
        Ok((!entries()?.iter().any(|one| one.is_beneath(directory))).then_some(()))
    });
    emptied.is_ok()
}

/// Limit for fusermount3(1), which may find the mount busy.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(30);

/// Detaches the mount at `at`, even if it is in use.
pub(super) fn detach(at: &Path) {
    if geteuid().is_root() {
        let _ = umount2(at, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
    } else {
        let mut command = Command::new("fusermount3");
        let _ = machine::child::output(command.args(["-u", "-z", "-q"]).arg(at), UNMOUNT_LIMIT);
    }
}

/// Removes `directory` if nothing is mounted in it, so that no file system's content is deleted.
pub(crate) fn remove(directory: &Path) {
    let unmounted = entries().is_ok_and(|all| !all.iter().any(|one| one.is_beneath(directory)));
    if unmounted {
        let _ = fs::remove_dir_all(directory);
    }
}
