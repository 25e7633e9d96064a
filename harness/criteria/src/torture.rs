//! Runs the torture tests on both homes: see [`homes::torture`].

use homes::torture::{fsx, fuzz, pjdfstest};
use vexfs_uapi::Home;

use super::both_homes::trial;
use crate::requirement::Requirement;
use crate::trial::Trial;
use crate::watched::own_knows_requests;

/// The mount's size for the test suites of others, the same as for the table of operations.
const SIZE: &str = "256M";

/// The trials of `home`.
pub fn trials(home: Home) -> impl Iterator<Item = Trial> {
    [
        trial(home, "pjdfstest", SIZE, |context, mounted| {
            context.fact("pjdfstest", pjdfstest::run(mounted.path(), mounted.home())?)
        })
        .needs(&[Requirement::Program("pjdfstest")]),
        trial(home, "fsx", SIZE, |context, mounted| {
            context.fact("fsx", fsx::run(mounted.path(), mounted.home(), context.place())?)
        })
        .needs(&[Requirement::Program("fsx")]),
        trial(home, "fuzzed_requests", "4M", |context, mounted| {
            own_knows_requests(mounted.home(), mounted.path())?;
            context.fact("fuzz", fuzz::run(mounted.path(), mounted.home(), 4 << 20)?)
        }),
    ]
    .into_iter()
}
