//! stress-ng: a mix of file-system operations by many processes at the same time, with a fixed
//! number of operations each.
//!
//! Its stressor dirdeep runs first and alone. It computes how many inodes it has used as the number
//! of free inodes at its start minus the present number, without a sign. If somebody else frees an
//! inode in between, the difference becomes huge, and dirdeep does nothing and ends with status 0
//! (stress-dirdeep.c of version 0.15.06).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use machine::child::{Finished, Running};
use machine::failure::{Failure, WithContext};
use machine::require;
use serde::Serialize;

use super::{program, scale};

/// An emulated guest takes about 10 s.
const LIMIT: Duration = Duration::from_secs(300);

/// Stressors, and how many operations each does (stress-ng(1), "bogo operations").
type Stressors = [(&'static str, u32)];

/// The stressor that counts inodes as if it were alone.
const BY_ITSELF: &Stressors = &[("dirdeep", 50)];

/// The stressors that run at the same time. fstat is left out: it looks at /dev and not at our files, and
/// in Debian 13's version (0.19.02) it counts one operation and never ends, on any file system.
const MIXED: &Stressors = &[
    ("chmod", 20),
    ("chown", 50),
    ("dentry", 100),
    ("dir", 50),
    ("dirmany", 50),
    ("fallocate", 20),
    ("filename", 20),
    ("flock", 200),
    ("getdent", 20),
    ("hdd", 50),
    ("lockf", 200),
    ("msync", 50),
    ("rename", 200),
    ("seek", 100),
    ("sendfile", 100),
    ("touch", 100),
    ("utime", 100),
];

/// The beginning of a line that reports a failure.
const FAILURE: &str = "stress-ng: fail:";

/// Sizes of the stressors' files.
const SIZES: &[&str] = &[
    "--fallocate-bytes=1M",
    "--hdd-bytes=1M",
    "--msync-bytes=1M",
    "--seek-size=1M",
    "--sendfile-size=64K",
];

/// A summary for the evidence.
#[derive(Debug, Serialize)]
pub struct StressNgSummary {
    /// Operations by stressor.
    operations: BTreeMap<String, u64>,
}

/// Runs all stressors on files in `directory`, with their own checks of the results.
///
/// # Errors
/// What stress-ng found, or a stressor that did less than it should have; with the end of
/// stress-ng's output.
pub fn run(directory: &Path) -> Result<StressNgSummary, Failure> {
    let mut operations = BTreeMap::new();
    for stressors in [BY_ITSELF, MIXED] {
        operations.append(&mut stress(directory, stressors)?);
    }
    Ok(StressNgSummary { operations })
}

/// Runs `stressors` at the same time, and returns how many operations each did. Each has a stress-ng
/// process of its own, because in version 0.19.02 all stressors of a process end when flock does.
fn stress(directory: &Path, stressors: &Stressors) -> Result<BTreeMap<String, u64>, Failure> {
    let scratch = tempfile::tempdir()?;
    let scale = scale()?;
    let mut started = Vec::new();
    for &(name, operations) in stressors {
        let metrics = scratch.path().join(name);
        let mut command = program("stress-ng")?;
        command.args(["--verify", "--metrics", "--yaml"]).arg(&metrics).args(SIZES);
        command.arg("--temp-path").arg(directory);
        command.arg(format!("--{name}=1")).arg(format!("--{name}-ops={}", operations * scale));
        started.push(((name, operations), metrics, Running::start(&mut command)?));
    }
    let mut all = BTreeMap::new();
    for (stressor, metrics, running) in started {
        let finished = running.finish(LIMIT * scale)?;
        finished.must_succeed("stress-ng")?;
        let mut done = counted(&fs::read_to_string(&metrics).context("stress-ng's metrics")?);
        judge(&[stressor], scale, &done, &finished)?;
        all.append(&mut done);
    }
    Ok(all)
}

/// Checks that every stressor did its work, and that none reports a failure: after some failures,
/// stress-ng still ends with status 0.
fn judge(
    stressors: &Stressors,
    scale: u32,
    operations: &BTreeMap<String, u64>,
    finished: &Finished,
) -> Result<(), Failure> {
    let found = finished.output.lines().find(|line| line.starts_with(FAILURE));
    require!(found.is_none(), "stress-ng found a failure:\n{}", finished.tail());
    for &(name, due) in stressors {
        let due = u64::from(due * scale);
        let done = operations.get(name).copied().unwrap_or_default();
        require!(
            done >= due,
            "{name} did {done} of {due} operations; stress-ng printed:\n{}",
            finished.tail()
        );
    }
    Ok(())
}

/// The number of operations by stressor, from the output of `--yaml`.
fn counted(metrics: &str) -> BTreeMap<String, u64> {
    let mut operations = BTreeMap::new();
    let mut stressor = "";
    for line in metrics.lines() {
        match line.trim().trim_start_matches("- ").split_once(": ") {
            Some(("stressor", name)) => stressor = name,
            Some(("bogo-ops", count)) => {
                let Ok(count) = count.parse() else { continue };
                operations.insert(stressor.to_owned(), count);
            }
            _ => {}
        }
    }
    operations
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn operations_are_read_from_the_metrics() {
        let metrics = "---\nmetrics:\n    - stressor: hdd\n      bogo-ops: 50\n      \
                       cpu-usage-per-instance: 3.0\n\n    - stressor: dentry\n      bogo-ops: 7\n";
        let due = [("dentry".to_owned(), 7), ("hdd".to_owned(), 50)];
        assert_eq!(counted(metrics), BTreeMap::from(due));
        assert!(counted("---\n").is_empty());
    }

    #[test]
    fn too_few_operations_and_reported_failures_are_red() {
        let judged = |done: u64, output: &str| {
            let operations = BTreeMap::from([("dir".to_owned(), done)]);
            let output = format!("stress-ng: info:  [7] dispatching hogs\n{output}");
            let finished = Finished { status: ExitStatus::default(), output };
            judge(&[("dir", 50)], 2, &operations, &finished)
        };
        judged(100, "").unwrap();
        let few = judged(99, "stress-ng: info:  [7] no inodes").unwrap_err().to_string();
        assert!(few.contains("dir did 99 of 100 operations"), "{few}");
        assert!(few.ends_with("no inodes"), "{few}");
        let found = judged(100, "stress-ng: fail:  [7] dir: mkdir failed").unwrap_err().to_string();
        assert!(found.ends_with("dir: mkdir failed"), "{found}");
    }

    #[test]
    fn a_failure_that_stress_ng_passes_over_is_red() {
        let mut command = program("stress-ng").unwrap();
        command.args(["--dirdeep=1", "--dirdeep-ops=1", "--temp-path=/proc"]);
        let finished = Running::start(&mut command).unwrap().finish(LIMIT).unwrap();
        finished.must_succeed("stress-ng").unwrap();
        let done = BTreeMap::from([("dirdeep".to_owned(), 1)]);
        let found = judge(&[("dirdeep", 1)], 1, &done, &finished).unwrap_err().to_string();
        assert!(found.contains("dirdeep: mkdir failed"), "{found}");
    }
}
