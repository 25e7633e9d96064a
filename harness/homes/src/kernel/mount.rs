//! A mount of the kernel's VexFS, taken down on every path.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use machine::child::Running;
use machine::failure::{Failure, WithContext};
use machine::mount::{entries, is_mounted, unmount};
use machine::{config, project, require, under_test};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::statfs;
use tempfile::TempDir;
use vexfs_uapi::{Home, SUPER_MAGIC};

use super::barrier::{Consent, may_load};
use super::names::names;
use crate::filesystem::contract;
use crate::is_own;

/// How long a user's own mount command may take.
const MOUNT_LIMIT: Duration = Duration::from_secs(60);

/// `mount -t vexfs none DIR -o OPTIONS`, or the command in `vexfs.toml`.
#[derive(Debug)]
pub struct KernelMount {
    mountpoint: PathBuf,
    /// Contains the mount point; removed after unmounting.
    _directory: TempDir,
}

impl KernelMount {
    /// Mounts on a fresh directory.
    ///
    /// # Errors
    /// The errno of mount(2), or that the mount's type is not the kernel's VexFS.
    pub fn new(options: &str) -> Result<KernelMount, Failure> {
        // mount(2) makes the kernel load the module.
        may_load(Consent::None)?;
        let directory = tempfile::Builder::new().prefix("vexfs-kernel-").tempdir()?;
        let mountpoint = directory.path().join("mnt");
        fs::create_dir(&mountpoint)?;
        // Make the guard first, because a command may fail after it has mounted.
        let mounted = KernelMount { mountpoint, _directory: directory };
        match &config::current()?.mount.module {
            Some(own) => mount_by(own, options, &mounted.mountpoint)?,
            None => {
                let (at, none) = (&mounted.mountpoint, MsFlags::empty());
                let kind = names().file_system.as_str();
                mount(Some("none"), at, Some(kind), none, Some(options))
                    .context(format!("mount -t {kind} -o {options}"))
                    .map_err(|failure| explained(failure, kind, at))?;
            }
        }
        mounted.is_of_the_module()?;
        Ok(mounted)
    }

    /// Checks the mount's type: the contract's, or the name that `vexfs.toml` gives the file
    /// system.
    fn is_of_the_module(&self) -> Result<(), Failure> {
        if names().is_contracts() {
            let kind = statfs(&self.mountpoint)?.filesystem_type().0;
            require!(
                kind == SUPER_MAGIC,
                "the mount's type is {kind:#x}, not the kernel's VexFS ({SUPER_MAGIC:#x})"
            );
            return Ok(());
        }
        let at = self.mountpoint.canonicalize()?;
        let mounted = entries()?.into_iter().rfind(|one| one.at == at.as_os_str().as_bytes());
        let kind = mounted.map(|one| String::from_utf8_lossy(&one.kind).into_owned());
        let due = &names().file_system;
        require!(kind.as_ref() == Some(due), "{kind:?} is mounted, expected {due}");
        Ok(())
    }

    /// The mounted directory.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// Unmounts, and checks that the directory below is empty.
    ///
    /// # Errors
    /// If it cannot be unmounted, or something is left.
    pub fn unmount(self) -> Result<(), Failure> {
        unmount(&self.mountpoint)?;
        require!(!is_mounted(&self.mountpoint)?, "{} is still mounted", self.mountpoint.display());
        let left = fs::read_dir(&self.mountpoint)?.count();
        require!(left == 0, "{left} names are left beneath the mount");
        Ok(())
    }
}

/// Adds to a `failure` to mount with options what to change if the file system takes none.
fn explained(failure: Failure, kind: &str, at: &Path) -> Failure {
    let own = is_own(Home::Kernel).unwrap_or_default();
    let none = None::<&str>;
    if !own || mount(Some("none"), at, Some(kind), MsFlags::empty(), none).is_err() {
        return failure;
    }
    // Unmount this at once, or the caller's guard would find it mounted.
    let _ = umount2(at, MntFlags::MNT_DETACH);
    contract::limited_mount(failure).and_then(format!(
        "\nIt mounts without options. If it takes none, leave {{options}} out in vexfs.toml, and \
         trials that need a small mount will say so:\n\n    [mount]\n    module = \"mount -t {kind} \
         none {{mountpoint}}\""
    ))
}

/// Whether a command mounts. Such a command can report that it failed, but not with which errno.
pub fn mounts_by_command() -> Result<bool, Failure> {
    Ok(config::current()?.mount.module.is_some())
}

/// The command that mounts on `mountpoint`: the one in `vexfs.toml`, or else mount(8).
///
/// # Errors
/// If `vexfs.toml` is refused, or this is not the guest.
pub fn mount_command(options: &str, mountpoint: &Path) -> Result<Command, Failure> {
    may_load(Consent::None)?;
    let Some(own) = &config::current()?.mount.module else {
        let mut mount = Command::new("mount");
        mount.args(["-t", &names().file_system, "-o", options, "none"]).arg(mountpoint);
        return Ok(mount);
    };
    let module = under_test::kernel_module(&project::running_kernel())?;
    Ok(own.filled(&[
        ("module", vec![module.display().to_string()]),
        ("options", vec!["-o".to_owned(), options.to_owned()]),
        ("mountpoint", vec![mountpoint.display().to_string()]),
    ]))
}

/// Mounts with the command from `vexfs.toml`.
fn mount_by(
    command: &config::ConfiguredCommand,
    options: &str,
    mountpoint: &Path,
) -> Result<(), Failure> {
    let mounted = Running::start(&mut mount_command(options, mountpoint)?)?.finish(MOUNT_LIMIT)?;
    mounted.must_succeed(&format!("{} {options}", command.words().join(" ")))
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        if is_mounted(&self.mountpoint).unwrap_or(true) {
            let _ = umount2(&self.mountpoint, MntFlags::MNT_DETACH);
        }
    }
}
