//! One trial, both homes: whatever one does, the other does.
//!
//! A trial of FUSE is `fuse::NAME`, on the host and in the guest; its twin on the kernel module is
//! `module::NAME`, in the guest.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use evidence::place::Place;
use nix::unistd::geteuid;
use vexfs_uapi::Home;

use super::module::{self, log_watched, watched};
use crate::failure::{Failure, While};
use crate::filesystem::{Effort, all_operations, requests_end_well};
use crate::fuse::FuseMount;
use crate::kernel::{KernelMount, LoadedModule, ModuleFile, live_allocations};
use crate::mount::unmount_by_force;
use crate::require;
use crate::requirement::Requirement;
use crate::torture::scale;
use crate::trial::{Context, Trial};

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
        Mounted::with_options(home, &format!("size={size}"))
    }

    /// Mounts `home` with `options`, of which both know the same; the module is loaded first.
    ///
    /// # Errors
    /// As [`Mounted::new`].
    pub fn with_options(home: Home, options: &str) -> Result<Mounted, Failure> {
        let mounted = match home {
            Home::Fuse => {
                // Without it nobody but the one who mounts gets in; root alone may give it.
                let others = if geteuid().is_root() { ",allow_other" } else { "" };
                let options = format!("{options}{others}");
                Mounted::Fuse(FuseMount::for_trial(&["-o", &options])?)
            }
            Home::Kernel => {
                let loaded = ModuleFile::of_running_kernel()?.load()?;
                Mounted::Kernel(KernelMount::new(options)?, loaded)
            }
        };
        // Other users, too, get as far as the mount.
        if let Some(parent) = mounted.path().parent() {
            fs::set_permissions(parent, Permissions::from_mode(0o711)).when(parent.display())?;
        }
        Ok(mounted)
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

    /// `failure`, and how the daemon is by now where that may be its cause.
    pub fn explain(&mut self, failure: Failure) -> Failure {
        match self {
            Mounted::Fuse(mount) => failure.and_then(mount.now()),
            Mounted::Kernel(..) => failure,
        }
    }

    /// Unmounts by force and at once, whoever uses the mount: what they ask for from then on may
    /// fail. They have to be done before [`Mounted::has_ended`].
    ///
    /// # Errors
    /// It cannot be unmounted.
    pub fn unmount_by_force(&self) -> Result<(), Failure> {
        unmount_by_force(self.path())
    }

    /// Unloads after [`Mounted::unmount_by_force`], and checks that nothing is left.
    ///
    /// # Errors
    /// Something is left, or the module cannot be unloaded.
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
    /// It cannot be unmounted or unloaded, or something is left.
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

/// The trial `name` on `home`: `body` is given the mount, of `size`, and the kernel's log is
/// watched in the guest.
pub fn trial(
    home: Home,
    name: &str,
    size: &'static str,
    body: impl Fn(&Context, &Mounted) -> Result<(), Failure> + Send + Sync + 'static,
) -> Trial {
    unmounted(home, name, move |context| {
        let mounted = Mounted::new(home, size)?;
        body(context, &mounted)?;
        mounted.unmount()
    })
}

/// The trial `name` of `home`, whose `body` mounts and unmounts it.
fn unmounted(
    home: Home,
    name: &str,
    body: impl Fn(&Context) -> Result<(), Failure> + Send + Sync + 'static,
) -> Trial {
    match home {
        Home::Fuse => Trial::new(format!("fuse::{name}"), &[Place::Host, Place::Guest], {
            move |context| match context.place() {
                Place::Host => body(context),
                Place::Guest => log_watched(context, &body),
            }
        })
        .needs(&[Requirement::DevFuse, Requirement::FuseDaemon]),
        Home::Kernel => Trial::new(format!("module::{name}"), &[Place::Guest], move |context| {
            watched(context, &body)
        })
        .needs(module::NEEDS)
        .alone(),
    }
}

/// None of them takes a tenth of it where the machine is quiet.
const OPERATION_LIMIT: Duration = Duration::from_secs(120);

/// How long an operation may take to end whose daemon was killed.
const FREED_LIMIT: Duration = Duration::from_secs(60);

/// What both homes do alike: an ordinary file system, the contract, and its limits.
pub fn trials(home: Home) -> impl Iterator<Item = Trial> {
    let operations = all_operations().into_iter().map(move |operation| {
        let limit = OPERATION_LIMIT * scale().unwrap_or(1);
        let trial = unmounted(home, operation.name, move |context| {
            let mut mounted = Mounted::with_options(home, operation.options)?;
            // The trial's own limit comes first, and frees whoever waits for a daemon.
            let last = limit * if context.emulated() { 10 } else { 1 } + FREED_LIMIT;
            operation
                .run_apart(mounted.path(), last)
                .map_err(|failure| mounted.explain(failure))?;
            mounted.unmount()
        });
        let trial = trial.needs(operation.needs).within(limit);
        if home == Home::Fuse && operation.effort == Effort::ManyRequests {
            trial.only_in(Place::Host)
        } else if operation.needs.contains(&Requirement::Root) {
            // Whoever runs the host's trials need not be root; in the guest everybody is.
            trial.only_in(Place::Guest)
        } else {
            trial
        }
    });
    operations.chain([forced_unmount(home)])
}

/// What a request is answered with whose mount is taken away by force, or whose daemon is killed:
/// one that waits, and one that comes later.
pub const ENDED: &[i32] = &[libc::ECONNABORTED, libc::ENOTCONN];

fn forced_unmount(home: Home) -> Trial {
    let trial = unmounted(home, "forced_unmount_during_searches", move |_| {
        let mounted = Mounted::new(home, "64M")?;
        requests_end_well(mounted.path(), ENDED, || mounted.unmount_by_force())?;
        mounted.has_ended()
    });
    trial.needs(&[Requirement::Root]).only_in(Place::Guest)
}
