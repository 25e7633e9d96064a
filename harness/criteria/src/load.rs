//! Runs load generators of others (fio, stress-ng) on both homes: see [`homes::torture`].

use std::time::Duration;

use homes::torture::{fio, scale, stress_ng};
use vexfs_uapi::Home;

use super::both_homes::trial;
use crate::requirement::Requirement;
use crate::trial::Trial;

/// They take a second on the host, and stress-ng two minutes on FUSE in an emulated guest, where the
/// limit is ten times as long.
const LIMIT: Duration = Duration::from_secs(150);

/// The trials of `home`.
pub fn trials(home: Home) -> impl Iterator<Item = Trial> {
    [
        trial(home, "fio_verifies_what_it_wrote", "256M", |context, mounted| {
            context.fact("fio", fio::run(mounted.path())?)
        })
        .needs(&[Requirement::Program("fio")]),
        trial(home, "stress_ng_mixes_operations", "256M", |context, mounted| {
            context.fact("stress-ng", stress_ng::run(mounted.path())?)
        })
        .needs(&[Requirement::Program("stress-ng")]),
    ]
    .into_iter()
    // An invalid scale fails the trial itself.
    .map(|trial| trial.within(LIMIT * scale().unwrap_or(1)))
}
