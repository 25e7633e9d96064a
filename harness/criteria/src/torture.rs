//! Runs the torture tests on both homes: see [`homes::torture`].

use std::time::Duration;

use homes::torture::{fsx, fuzz, pjdfstest, scale};
use vexfs_uapi::Home;

use super::both_homes::trial;
use crate::requirement::Requirement;
use crate::trial::Trial;
use crate::watched::own_knows_requests;

/// The mount's size for the test suites of others, the same as for the table of operations.
const SIZE: &str = "256M";

/// It takes a second, or minutes on a file system that keeps times in whole seconds, for which it
/// waits. No scale makes it do more.
const PJDFSTEST_LIMIT: Duration = Duration::from_secs(300);
/// Ten times what it takes on the host.
const FSX_LIMIT: Duration = Duration::from_secs(660);
/// Ten times what it takes on the host.
const FUZZ_LIMIT: Duration = Duration::from_secs(180);

/// The trials of `home`.
pub fn trials(home: Home) -> impl Iterator<Item = Trial> {
    // An invalid scale fails the trial itself.
    let scale = scale().unwrap_or(1);
    [
        trial(home, "pjdfstest", SIZE, |context, mounted| {
            context.fact("pjdfstest", pjdfstest::run(mounted.path(), mounted.home())?)
        })
        .needs(&[Requirement::Program("pjdfstest")])
        .within(PJDFSTEST_LIMIT),
        trial(home, "fsx", SIZE, |context, mounted| {
            context.fact("fsx", fsx::run(mounted.path(), mounted.home(), context.place())?)
        })
        .needs(&[Requirement::Program("fsx")])
        .within(FSX_LIMIT * scale),
        trial(home, "fuzzed_requests", "4M", |context, mounted| {
            own_knows_requests(mounted.home(), mounted.path())?;
            context.fact("fuzz", fuzz::run(mounted.path(), mounted.home(), 4 << 20)?)
        })
        .within(FUZZ_LIMIT * scale),
    ]
    .into_iter()
}
