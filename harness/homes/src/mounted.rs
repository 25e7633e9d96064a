//! Either home, mounted.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::mount::unmount_by_force;
use machine::require;
use nix::unistd::geteuid;
use vexfs_uapi::Home;

use crate::fuse::FuseMount;
use crate::kernel::{KernelMount, LoadedModule, ModuleFile, live_allocations};

/// A mounted home, taken down on every path.
#[derive(Debug)]
pub enum Mounted {
    /// A daemon and its mount.
    Fuse(FuseMount),
    /// The module's mount, and the module, which is unloaded after it.
    Kernel(KernelMount, LoadedModule),
}

/// The `options` for FUSE. Without `allow_other`, only the user who mounted gets access, and only
/// root may give that option.
pub fn fuse_options(options: &str) -> String {
    let others = if geteuid().is_root() { ",allow_other" } else { "" };
    format!("{options}{others}")
}

impl Mounted {
    /// Mounts `home` with a limit of `size`, as `size=` takes it; the module is loaded first.
    ///
    /// # Errors
    /// If the home cannot be started, loaded or mounted.
    pub fn new(home: Home, size: &str) -> Result<Mounted, Failure> {
        Mounted::with_options(home, &format!("size={size}"))
    }

    /// Mounts `home` with `options`, which both homes understand; the module is loaded first.
    pub fn with_options(home: Home, options: &str) -> Result<Mounted, Failure> {
        let mounted = match home {
            Home::Fuse => Mounted::Fuse(FuseMount::for_trial(&["-o", &fuse_options(options)])?),
            Home::Kernel => {
                let loaded = ModuleFile::of_running_kernel()?.load()?;
                Mounted::Kernel(KernelMount::new(options)?, loaded)
            }
        };
        // Let other users reach the mount.
        if let Some(parent) = mounted.path().parent() {
            fs::set_permissions(parent, Permissions::from_mode(0o711)).context(parent.display())?;
        }
        Ok(mounted)
    }

    /// The mounted directory.
    pub fn path(&self) -> &Path {
        match self {
            Mounted::Fuse(mount) => mount.path(),
            Mounted::Kernel(mount, _) => mount.path(),
        }
    }

    /// Which home it is.
    pub fn home(&self) -> Home {
        match self {
            Mounted::Fuse(_) => Home::Fuse,
            Mounted::Kernel(..) => Home::Kernel,
        }
    }

    /// Adds to `failure` the state of the daemon, if that may be the cause.
    pub fn explain(&mut self, failure: Failure) -> Failure {
        match self {
            Mounted::Fuse(mount) => mount.explain(failure),
            Mounted::Kernel(..) => failure,
        }
    }

    /// Unmounts by force and at once, even while the mount is in use; later requests of its users
    /// may fail. They must be finished before [`Mounted::has_ended`] is called.
    pub fn unmount_by_force(&self) -> Result<(), Failure> {
        unmount_by_force(self.path())
    }

    /// Unloads the module after [`Mounted::unmount_by_force`], and checks that nothing is left.
    ///
    /// # Errors
    /// If something is left, or the module cannot be unloaded.
    pub fn has_ended(self) -> Result<(), Failure> {
        match self {
            Mounted::Fuse(mount) => mount.has_ended("being unmounted by force"),
            Mounted::Kernel(mount, loaded) => {
                drop(mount);
                loaded.unload()
            }
        }
    }

    /// Unmounts and unloads, and checks that nothing is left.
    ///
    /// # Errors
    /// If it cannot be unmounted or unloaded, or something is left.
    pub fn unmount(self) -> Result<(), Failure> {
        match self {
            Mounted::Fuse(mount) => mount.unmount(),
            Mounted::Kernel(mount, loaded) => {
                mount.unmount()?;
                let live = live_allocations()?.unwrap_or_default();
                require!(live == 0, "{live} allocations of the engine live after unmounting");
                loaded.unload()
            }
        }
    }
}
