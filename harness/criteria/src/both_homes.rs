//! One trial, both homes: whatever one home does, the other does as well.
//!
//! A trial of FUSE is `fuse::NAME`, on the host and in the guest; its twin on the kernel module is
//! `module::NAME`, in the guest.

use std::time::Duration;

use evidence::place::Place;
use homes::Mounted;
use homes::filesystem::{Effort, Need, all_operations, requests_end_well};
use homes::torture::scale;
use machine::failure::Failure;
use vexfs_uapi::Home;

use super::watched::{NEEDS, log_watched, watched};
use crate::requirement::Requirement;
use crate::trial::{Context, Trial};

/// The trial `name` on `home`. `body` is given a mount of `size`; in the guest the kernel's log is
/// watched.
pub fn trial(
    home: Home,
    name: &str,
    size: &'static str,
    body: impl Fn(&Context, &Mounted) -> Result<(), Failure> + Send + Sync + 'static,
) -> Trial {
    unmounted(home, name, move |context| {
        let mut mounted = Mounted::new(home, size)?;
        body(context, &mounted).map_err(|failure| mounted.explain(failure))?;
        mounted.unmount()
    })
}

/// The trial `name` of `home`, for a `body` that mounts and unmounts by itself.
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
        .needs(NEEDS)
        .alone(),
    }
}

/// On a quiet machine no operation takes a tenth of this.
const OPERATION_LIMIT: Duration = Duration::from_secs(120);

/// How long an operation may take to end after its daemon was killed.
const FREED_LIMIT: Duration = Duration::from_secs(60);

/// The requirement that provides what an operation needs.
fn requirement(need: Need) -> Requirement {
    match need {
        Need::Root => Requirement::Root,
        Need::Vexctl => Requirement::Vexctl,
    }
}

/// The table of operations on `home`: an ordinary file system, the contract, and its limits. Each
/// is tried in a process of its own.
pub fn operations(home: Home) -> impl Iterator<Item = Trial> {
    all_operations().into_iter().map(move |operation| {
        let limit = OPERATION_LIMIT * scale().unwrap_or(1);
        let trial = unmounted(home, operation.name, move |context| {
            let mut mounted = Mounted::with_options(home, operation.options)?;
            // The trial's own limit comes first, and unblocks threads that wait for a daemon.
            let last = limit * if context.emulated() { 10 } else { 1 } + FREED_LIMIT;
            operation
                .run_apart(mounted.path(), last)
                .map_err(|failure| mounted.explain(failure))?;
            mounted.unmount()
        });
        let needs: Vec<Requirement> =
            operation.needs.iter().map(|need| requirement(*need)).collect();
        let trial = trial.needs(&needs).within(limit);
        if home == Home::Fuse && operation.effort == Effort::ManyRequests {
            trial.only_in(Place::Host)
        } else if operation.needs.contains(&Need::Root) {
            // The host's trials may be run by an ordinary user; in the guest everybody is root.
            trial.only_in(Place::Guest)
        } else {
            trial
        }
    })
}

/// The errors that requests may get when their mount is taken away by force or their daemon is
/// killed: a request in progress gets the first, a later one the second.
pub const ENDED: &[i32] = &[libc::ECONNABORTED, libc::ENOTCONN];

/// Takes the mount away from its users.
pub fn forced_unmount(home: Home) -> Trial {
    let trial = unmounted(home, "forced_unmount_during_searches", move |_| {
        let mounted = Mounted::new(home, "64M")?;
        requests_end_well(mounted.path(), ENDED, || mounted.unmount_by_force())?;
        mounted.has_ended()
    });
    trial.needs(&[Requirement::Root]).only_in(Place::Guest).within(OPERATION_LIMIT)
}
