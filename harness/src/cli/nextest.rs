//! Runs `cargo nextest` on the criteria and keeps its JUnit file.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::evidence;
use crate::failure::{Failure, While};
use crate::junit;
use crate::place::Place;
use crate::project;

/// nextest's exit code for 'tests failed' (its `NextestExitCode::TEST_RUN_FAILED`).
const TESTS_FAILED: i32 = 100;

/// What a run of nextest came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tests {
    Passed,
    Failed,
}

/// Runs the criteria that `filter` names with `profile`; the JUnit file goes to `dir`.
pub(super) fn run(
    dir: &Path,
    place: Place,
    profile: &str,
    phase: &str,
    filter: &str,
) -> Result<Tests, Failure> {
    let written = project::root().join("target/nextest").join(profile).join("junit.xml");
    // An old file must not pass for this run's.
    match fs::remove_file(&written) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error.into());
        }
        _ => {}
    }
    let status = Command::new("cargo")
        .current_dir(project::root())
        // Every package is named, as in the build before: another choice would be another set of
        // features, and compile anew.
        .args(["nextest", "run", "--locked", "--profile", profile])
        .args(["--filterset", &format!("package(vexfs-validation) and ({filter})")])
        .env(evidence::DIR_VARIABLE, dir)
        // One test may be all that a filter leaves, or none on a machine that skips them.
        .args(["--no-tests", "pass"])
        .status()
        .when("cargo nextest could not be started (make setup provides it)")?;
    if written.exists() {
        fs::copy(&written, dir.join(junit::raw_file(place, phase)))
            .when(format!("copying {}", written.display()))?;
    }
    match status.code() {
        Some(0) => Ok(Tests::Passed),
        Some(TESTS_FAILED) => Ok(Tests::Failed),
        _ => Err(Failure::new(format!(
            "cargo nextest ended with {status}: the tests could not be run (its own words are above)"
        ))),
    }
}
