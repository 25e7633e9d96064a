//! Runs `cargo nextest` on the criteria and keeps its JUnit file.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use evidence::place::Place;
use machine::child::{Supervised, die_with_us};
use machine::failure::{Failure, WithContext};
use machine::interrupt::Signals;
use machine::project;
use verdict::junit;

/// nextest's exit code for 'tests failed' (its `NextestExitCode::TEST_RUN_FAILED`).
const TESTS_FAILED: i32 = 100;

/// What a run of nextest came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextestEnd {
    Passed,
    Failed,
    /// By a person, before all of them were done.
    Interrupted,
}

/// How long nextest may take to hear the terminal's own Ctrl-C: a second signal would make it kill
/// tests that are cleaning up.
const HEARS_ITSELF: Duration = Duration::from_secs(1);
/// How long nextest may take to end its tests: it gives them 10 s to clean up.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const STARTING: &str = "cargo nextest could not be started (make setup provides it)";

/// Runs the criteria that `filter` names with `profile`; the JUnit file goes to `dir`.
pub(super) fn run(
    dir: &Path,
    place: Place,
    profile: &str,
    phase: &str,
    filter: &str,
) -> Result<NextestEnd, Failure> {
    let written = project::root().join("target/nextest").join(profile).join("junit.xml");
    // An old file must not pass for this run's.
    match fs::remove_file(&written) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error.into());
        }
        _ => {}
    }
    let mut command = Command::new("cargo");
    command
        .current_dir(project::root())
        // Every package is named, as in the build before: another choice would be another set of
        // features, and compile anew.
        .args(["nextest", "run", "--locked", "--profile", profile])
        .args(["--filterset", &format!("package(vexfs-validation) and ({filter})")])
        .env(machine::place::DIR_VARIABLE, dir)
        // One test may be all that a filter leaves, or none on a machine that skips them.
        .args(["--no-tests", "pass"]);
    let Some(status) = finish(command)? else { return Ok(NextestEnd::Interrupted) };
    if written.exists() {
        fs::copy(&written, dir.join(junit::raw_file(place, phase)))
            .context(format!("copying {}", written.display()))?;
    }
    match status.code() {
        Some(0) => Ok(NextestEnd::Passed),
        Some(TESTS_FAILED) => Ok(NextestEnd::Failed),
        _ => Err(Failure::new(format!(
            "cargo nextest ended with {status}: the tests could not be run (its own words are above)"
        ))),
    }
}

/// Runs `command` to its end, or, on Ctrl-C, to the end that it then makes of itself: nextest ends
/// its tests, which unmount what they mounted. Where we are killed it is told to as well.
fn finish(mut command: Command) -> Result<Option<ExitStatus>, Failure> {
    let signals = Signals::begin().context("signals cannot be watched")?;
    die_with_us(&mut command, Signal::SIGTERM);
    // Ctrl-C reaches it in our process group.
    let child = Supervised::of("cargo nextest", command.spawn().context(STARTING)?);
    loop {
        if let Some(status) = child.ended()? {
            return Ok((!signals.interrupted()).then_some(status));
        }
        if signals.interrupted() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let heard = Instant::now();
    let mut told = false;
    // One that does not end is killed when `child` is dropped.
    let _ = child.wait(ENDS_WITHIN, || {
        if !told && heard.elapsed() >= HEARS_ITSELF {
            child.signal(Signal::SIGTERM);
            told = true;
        }
        Ok(())
    });
    Ok(None)
}
