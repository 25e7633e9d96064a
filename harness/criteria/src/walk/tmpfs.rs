//! A tmpfs to compare with: one of its own for root, which is mounted nowhere, and /dev/shm for a user.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use machine::failure::{Failure, WithContext};
use machine::require;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::geteuid;
use rustix::fs::{XattrFlags, setxattr};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};
use tempfile::TempDir;

/// The directory of a tmpfs.
pub enum Tmpfs {
    /// A mount that only this descriptor holds: it goes with it, also where the process is killed.
    Own(OwnedFd),
    /// A directory of /dev/shm.
    Shared(TempDir),
}

impl Tmpfs {
    /// An empty one.
    ///
    /// # Errors
    /// It cannot be mounted, or /dev/shm is no tmpfs.
    pub fn new() -> Result<Tmpfs, Failure> {
        if geteuid().is_root() {
            return Tmpfs::own().context("mounting a tmpfs").map(Tmpfs::Own);
        }
        let found = statfs("/dev/shm").context("/dev/shm")?.filesystem_type();
        require!(found == TMPFS_MAGIC, "/dev/shm is no tmpfs; run the trial as root");
        let directory = tempfile::Builder::new().prefix("vexfs-walk-").tempdir_in("/dev/shm")?;
        Ok(Tmpfs::Shared(directory))
    }

    fn own() -> rustix::io::Result<OwnedFd> {
        let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&tmpfs, "size", "256M")?;
        fsconfig_set_string(&tmpfs, "mode", "755")?;
        fsconfig_create(&tmpfs)?;
        fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    }

    /// Whether it has extended attributes of users, as tmpfs has from Linux 6.6 on.
    ///
    /// # Errors
    /// Neither yes nor no.
    pub fn has_xattrs(&self) -> Result<bool, Failure> {
        match setxattr(self.path(), "user.a", b"a", XattrFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno).context("setxattr on tmpfs"),
        }
    }

    /// The directory, for this process.
    pub fn path(&self) -> PathBuf {
        match self {
            Tmpfs::Own(mount) => format!("/proc/self/fd/{}", mount.as_raw_fd()).into(),
            Tmpfs::Shared(directory) => directory.path().to_path_buf(),
        }
    }
}
