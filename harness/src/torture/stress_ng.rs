//! stress-ng: a mix of file-system operations by many processes at the same time, a set number of
//! each.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::{program, scale};
use crate::child::Running;
use crate::failure::{Failure, While};
use crate::require;

/// An emulated guest takes some 10 s.
const LIMIT: Duration = Duration::from_secs(300);

/// Stressors, and how often each does what it does (stress-ng(1), "bogo operations").
const STRESSORS: &[(&str, u32)] = &[
    ("chmod", 20),
    ("chown", 50),
    ("dentry", 100),
    ("dir", 50),
    ("dirdeep", 50),
    ("dirmany", 50),
    ("fallocate", 20),
    ("filename", 20),
    ("flock", 200),
    ("fstat", 50),
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

/// Sizes of their files.
const SIZES: &[&str] = &[
    "--fallocate-bytes=1M",
    "--hdd-bytes=1M",
    "--msync-bytes=1M",
    "--seek-size=1M",
    "--sendfile-size=64K",
];

/// What was done, for the evidence.
#[derive(Debug, Serialize)]
pub struct Done {
    /// Operations by stressor.
    operations: BTreeMap<String, u64>,
}

/// Runs all stressors at once on files in `directory`, with their own checks of what comes of it.
///
/// # Errors
/// What stress-ng found, or a stressor that did less than it was to do.
pub fn run(directory: &Path) -> Result<Done, Failure> {
    let scratch = tempfile::tempdir()?;
    let metrics = scratch.path().join("metrics.yaml");
    let mut command = program("stress-ng")?;
    command.args(["--verify", "--metrics", "--yaml"]).arg(&metrics).args(SIZES);
    command.arg("--temp-path").arg(directory);
    for (name, operations) in STRESSORS {
        command.arg(format!("--{name}=1")).arg(format!("--{name}-ops={}", operations * scale()?));
    }
    Running::start(&mut command)?.finish(LIMIT * scale()?)?.must_succeed("stress-ng")?;
    let operations = counted(&fs::read_to_string(&metrics).when("stress-ng's metrics")?);
    for &(name, due) in STRESSORS {
        let done = operations.get(name).copied().unwrap_or_default();
        require!(done >= u64::from(due * scale()?), "{name} did {done} of {due} operations");
    }
    Ok(Done { operations })
}

/// The operations by stressor of `--yaml`.
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
    use super::*;

    #[test]
    fn operations_are_read_from_the_metrics() {
        let metrics = "---\nmetrics:\n    - stressor: hdd\n      bogo-ops: 50\n      \
                       cpu-usage-per-instance: 3.0\n\n    - stressor: dentry\n      bogo-ops: 7\n";
        let due = [("dentry".to_owned(), 7), ("hdd".to_owned(), 50)];
        assert_eq!(counted(metrics), BTreeMap::from(due));
        assert!(counted("---\n").is_empty());
    }
}
