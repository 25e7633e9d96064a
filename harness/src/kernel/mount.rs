//! A mount of the kernel's VexFS that is taken down on every path.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::statfs;
use tempfile::TempDir;
use vexfs_uapi::SUPER_MAGIC;

use crate::failure::{Failure, While};
use crate::mount::{is_mounted, unmount};
use crate::require;

/// `mount -t vexfs none DIR -o OPTIONS`.
#[derive(Debug)]
pub struct KernelMount {
    mountpoint: PathBuf,
    /// Holds the mount point; removed after the mount is gone.
    _directory: TempDir,
}

impl KernelMount {
    /// Mounts on a fresh directory.
    ///
    /// # Errors
    /// The errno of mount(2), or a mount whose type is not the kernel's VexFS.
    pub fn new(options: &str) -> Result<KernelMount, Failure> {
        let directory = tempfile::Builder::new().prefix("vexfs-kernel-").tempdir()?;
        let mountpoint = directory.path().join("mnt");
        fs::create_dir(&mountpoint)?;
        mount(Some("none"), &mountpoint, Some("vexfs"), MsFlags::empty(), Some(options))
            .when(format!("mount -t vexfs -o {options}"))?;
        let mounted = KernelMount { mountpoint, _directory: directory };
        let kind = statfs(&mounted.mountpoint)?.filesystem_type().0;
        require!(
            kind == SUPER_MAGIC,
            "the mount's type is {kind:#x}, not the kernel's VexFS ({SUPER_MAGIC:#x})"
        );
        Ok(mounted)
    }

    /// The mounted directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// Unmounts, and checks that the directory beneath is empty.
    ///
    /// # Errors
    /// It cannot be unmounted, or something is left.
    pub fn unmount(self) -> Result<(), Failure> {
        unmount(&self.mountpoint)?;
        require!(!is_mounted(&self.mountpoint)?, "{} is still mounted", self.mountpoint.display());
        let left = fs::read_dir(&self.mountpoint)?.count();
        require!(left == 0, "{left} names are left beneath the mount");
        Ok(())
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        if is_mounted(&self.mountpoint).unwrap_or(true) {
            let _ = umount2(&self.mountpoint, MntFlags::MNT_DETACH);
        }
    }
}
