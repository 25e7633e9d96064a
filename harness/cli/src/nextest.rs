//! Runs `cargo nextest` on the criteria, and keeps its JUnit file.

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

/// How a run of nextest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextestEnd {
    Passed,
    Failed,
    /// By Ctrl-C, before all tests were done.
    Interrupted,
}

/// How long nextest may take to react to the terminal's own Ctrl-C. A second signal would make it
/// kill tests that are cleaning up.
const HEARS_ITSELF: Duration = Duration::from_secs(1);
/// How long nextest may take to end its tests, which it gives 10 s to clean up.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const STARTING: &str = "cargo nextest could not be started (make setup provides it)";

/// Runs the trials that `filter` selects with `profile`, and copies the JUnit file to `dir`.
pub(super) fn run(
    dir: &Path,
    place: Place,
    profile: &str,
    phase: &str,
    filter: &str,
) -> Result<NextestEnd, Failure> {
    let written = project::root().join("target/nextest").join(profile).join("junit.xml");
    // The file of an earlier run must not pass for this one's.
    match fs::remove_file(&written) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error.into());
        }
        _ => {}
    }
    let mut command = Command::new("cargo");
    command
        .current_dir(project::root())
        // The same packages as in the build before: others would mean other features, and compiling
        // again.
        .args(["nextest", "run", "--locked", "--profile", profile])
        .args(["--filterset", &format!("package(vexfs-validation) and ({filter})")])
        .env(machine::place::DIR_VARIABLE, dir)
        // A filter may leave no test at all on a machine that skips them.
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

/// Runs `command` to its end. On Ctrl-C, waits until nextest has ended its tests, which unmount
/// what they mounted, and returns `None`. If we are killed, nextest gets SIGTERM.
fn finish(mut command: Command) -> Result<Option<ExitStatus>, Failure> {
    let signals = Signals::begin().context("signals cannot be watched")?;
    die_with_us(&mut command, Signal::SIGTERM);
    // It is in our process group, so Ctrl-C reaches it.
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
    // If it does not end, it is killed when `child` is dropped.
    let _ = child.wait(ENDS_WITHIN, || {
        if !told && heard.elapsed() >= HEARS_ITSELF {
            child.signal(Signal::SIGTERM);
            told = true;
        }
        Ok(())
    });
    Ok(None)
}
