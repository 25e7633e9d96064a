//! One trial, both homes: whatever one does, the other does.
//!
//! A trial of FUSE is `fuse::NAME`, on the host and in the guest; its twin on the kernel module is
//! `module::NAME`, in the guest.

use std::path::Path;

use vexfs_uapi::Home;

use super::module::{self, watched};
use crate::failure::Failure;
use crate::filesystem::{a_full_mount_loses_nothing, operations};
use crate::fuse::{FuseMount, build_if_missing};
use crate::kernel::{KernelMount, LoadedModule, ModuleFile};
use crate::place::Place;
use crate::requirement::Requirement;
use crate::trial::{Context, Trial};

/// Limit of a mount where a trial says nothing else.
pub const SIZE: &str = "256M";

/// A home, mounted; taken down again on every path.
#[derive(Debug)]
pub enum Mounted {
    /// A daemon and its mount.
    Fuse(FuseMount),
    /// The module's mount, and the module, which is unloaded after it.
    Kernel(KernelMount, LoadedModule),
}

impl Mounted {
    /// Mounts `home` with a limit of `size`, as `size=` takes it; the module is loaded first.
    ///
    /// # Errors
    /// A home that cannot be started, loaded or mounted.
    pub fn new(home: Home, size: &str) -> Result<Mounted, Failure> {
        match home {
            Home::Fuse => {
                FuseMount::start(&build_if_missing()?, &["--size", size]).map(Mounted::Fuse)
            }
            Home::Kernel => {
                let loaded = ModuleFile::of_running_kernel()?.load()?;
                Ok(Mounted::Kernel(KernelMount::new(&format!("size={size}"))?, loaded))
            }
        }
    }

    /// The mounted directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Mounted::Fuse(mount) => mount.path(),
            Mounted::Kernel(mount, _) => mount.path(),
        }
    }

    /// Which home it is.
    #[must_use]
    pub fn home(&self) -> Home {
        match self {
            Mounted::Fuse(_) => Home::Fuse,
            Mounted::Kernel(..) => Home::Kernel,
        }
    }

    /// Unmounts and unloads, and checks that nothing is left.
    ///
    /// # Errors
    /// It cannot be unmounted or unloaded, or something is left.
    pub fn unmount(self) -> Result<(), Failure> {
        match self {
            Mounted::Fuse(mount) => mount.unmount(),
            Mounted::Kernel(mount, loaded) => {
                mount.unmount()?;
                loaded.unload()
            }
        }
    }
}

/// The trial `name` on `home`: `body` is given the mount, of `size`, and the kernel's log is
/// watched where the module is loaded.
pub fn trial(
    home: Home,
    name: &str,
    size: &'static str,
    body: impl Fn(&Context, &Mounted) -> Result<(), Failure> + Send + Sync + 'static,
) -> Trial {
    let on_mount = move |context: &Context| {
        let mounted = Mounted::new(home, size)?;
        body(context, &mounted)?;
        mounted.unmount()
    };
    match home {
        Home::Fuse => Trial::new(format!("fuse::{name}"), &[Place::Host, Place::Guest], on_mount)
            .needs(&[Requirement::DevFuse, Requirement::FuseDaemon]),
        Home::Kernel => Trial::new(format!("module::{name}"), &[Place::Guest], move |context| {
            watched(context, &on_mount)
        })
        .needs(module::NEEDS)
        .alone(),
    }
}

/// What both homes do alike: an ordinary file system, the contract, and its limits.
pub fn trials(home: Home) -> impl Iterator<Item = Trial> {
    let operations = operations().into_iter().map(move |operation| {
        trial(home, operation.name, SIZE, move |_, mounted| operation.run(mounted.path()))
    });
    let full = trial(home, "a_full_mount_loses_nothing", "8M", |_, mounted| {
        a_full_mount_loses_nothing(mounted.path(), 8 << 20)
    });
    operations.chain([full])
}
