//! Failures on purpose: of the module's allocations, of an index, of a file's memory, of an msync(2)
//! or a truncate(2) that is killed, of the FUSE daemon, of unloading, and of the guest's power.

mod allocations;
mod broken_index;
pub(crate) mod ended_daemon;
mod killed_daemon;
pub(crate) mod memory;
pub(crate) mod msync;
mod power_cut;
pub(crate) mod truncate;
pub(crate) mod unloading;

use evidence::place::Place;
use vexfs_uapi::Home;

use super::watched::{NEEDS, watched};
use crate::requirement::Requirement;
use crate::trial::{Body, Trial};

/// The trials of `home`.
pub fn trials(home: Home) -> Vec<Trial> {
    let of_module = |name: &str, body: Body| {
        Trial::new(name, &[Place::Guest], move |context| watched(context, body))
            .needs(NEEDS)
            .alone()
    };
    match home {
        Home::Fuse => vec![killed_daemon::trial(), ended_daemon::trial()],
        Home::Kernel => vec![
            of_module("module::every_allocation_may_fail", allocations::fail_one_by_one)
                .needs(&[Requirement::FaultInjectionModule]),
            of_module("module::a_broken_index_answers_no_more", broken_index::answers_no_more)
                .needs(&[Requirement::FaultInjectionModule]),
            of_module("module::failed_memory_is_an_error", memory::is_an_error),
            of_module("module::msync_indexes_each_row_once", msync::indexes_each_row_once)
                .needs(&[Requirement::FaultInjectionModule]),
            of_module("module::a_killed_msync_keeps_its_progress", msync::keeps_its_progress)
                .needs(&[Requirement::FaultInjectionModule]),
            of_module("module::a_failed_search_leaves_stores_to_the_next", msync::is_tried_again)
                .needs(&[Requirement::FaultInjectionModule]),
            of_module("module::a_killed_truncate_moves_the_times", truncate::moves_the_times),
            of_module("module::refuses_to_unload_under_load", unloading::refused_under_load),
            of_module("module::unloads_while_others_mount", unloading::races_with_mounts),
            Trial::new("module::power_cut_is_told", &[Place::Host], power_cut::is_told)
                .needs(&[Requirement::BootableGuest])
                .alone(),
        ],
    }
}
