//! Failures on purpose.

mod allocations;

use vexfs_uapi::Home;

use super::module;
use crate::place::Place;
use crate::requirement::Requirement;
use crate::trial::{Body, Trial};

/// The trials of `home`.
pub fn trials(home: Home) -> Vec<Trial> {
    let of_module = |name: &str, body: Body| {
        Trial::new(name, &[Place::Guest], move |context| module::watched(context, body))
            .needs(module::NEEDS)
            .alone()
    };
    match home {
        Home::Fuse => Vec::new(),
        Home::Kernel => vec![
            of_module("module::every_allocation_may_fail", allocations::fail_one_by_one)
                .needs(&[Requirement::FaultInjectionModule]),
        ],
    }
}
