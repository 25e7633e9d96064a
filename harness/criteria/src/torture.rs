//! Both homes under torture: see [`homes::torture`].

use homes::torture::{fsx, fuzz, pjdfstest};
use vexfs_uapi::Home;

use super::both_homes::trial;
use crate::requirement::Requirement;
use crate::trial::Trial;

/// Room for what the suites of others write; as much as the table of operations has.
const SIZE: &str = "256M";

/// What both homes are put through.
pub fn trials(home: Home) -> impl Iterator<Item = Trial> {
    [
        trial(home, "pjdfstest", SIZE, |context, mounted| {
            context.fact("pjdfstest", pjdfstest::run(mounted.path(), mounted.home())?)
        })
        .needs(&[Requirement::Program("pjdfstest")]),
        trial(home, "fsx", SIZE, |context, mounted| {
            context.fact("fsx", fsx::run(mounted.path(), context.place())?)
        })
        .needs(&[Requirement::Program("fsx")]),
        trial(home, "fuzzed_requests", "4M", |context, mounted| {
            context.fact("fuzz", fuzz::run(mounted.path(), mounted.home(), 4 << 20)?)
        }),
    ]
    .into_iter()
}
