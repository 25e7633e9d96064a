//! fsx, the file system exerciser: random reads, writes, mappings, truncations and holes in one
//! file, with every byte compared to its expected value.

use std::fs;
use std::path::Path;
use std::time::Duration;

use evidence::place::Place;
use machine::child::{Finished, Running};
use machine::failure::{Failure, WithContext};
use machine::require;
use serde::Serialize;
use vexfs_uapi::Home;

use super::{program, punches_no_holes, scale};
use crate::is_own;

/// How many seeds run side by side, each on a file of its own (behind FUSE, a run mostly waits),
/// and how many operations each does. Over all seeds these are 300,000 operations on the host, and
/// 100,000 each on the kernel's mount and on FUSE's in a guest, which may be emulated.
const fn work(place: Place) -> (u64, u32) {
    match place {
        Place::Host => (3, 100_000),
        Place::Guest => (8, 12_500),
    }
}
/// 100,000 operations in an emulated guest take 25 s on the kernel's mount and four minutes on
/// FUSE's.
const LIMIT: Duration = Duration::from_secs(900);

/// The operation that only the contract requires.
const PUNCH_HOLE: &str = "punch_hole = 0.3\n";

/// With small operations on a small file, edges of operations meet most often.
const CONFIGURATION: &str = "\
flen = 65536

[opsize]
min = 1
max = 4096

[weights]
read = 1
write = 1
mapread = 1
mapwrite = 1
truncate = 0.3
punch_hole = 0.3
posix_fallocate = 0.1
copy_file_range = 0.2
sendfile = 0.2
posix_fadvise = 0.1
invalidate = 0.1
fsync = 0.1
fdatasync = 0.1
close_open = 0.1
";

/// A summary for the evidence.
#[derive(Debug, Serialize)]
pub struct FsxSummary {
    seeds: Vec<u64>,
    operations_of_each: u32,
    operations: u64,
    configuration: String,
    /// What it did not do, because a file system that is not the reference lacks it.
    left_out: Option<String>,
}

/// Exercises files in `directory`, where `home` is mounted. Without FALLOC_FL_PUNCH_HOLE, which
/// only the contract requires, a file system that is not the reference is tried with the rest.
///
/// # Errors
/// A mismatch, with fsx's log of the operations that led to it, or a run that does not end.
pub fn run(directory: &Path, home: Home, place: Place) -> Result<FsxSummary, Failure> {
    let scratch = tempfile::tempdir()?;
    let configuration = scratch.path().join("fsx.toml");
    let lacking = if is_own(home)? { punches_no_holes(directory)? } else { None };
    let text = configured(lacking.is_none());
    fs::write(&configuration, &text)?;
    let (seeds, operations) = work(place);
    let operations = operations * scale()?;
    let limit = LIMIT * scale()?;
    let seeds: Vec<u64> = (1..=seeds).collect();
    let mut running = Vec::new();
    for &seed in &seeds {
        let mut command = program("fsx")?;
        command.arg("-f").arg(&configuration).arg("-P").arg(scratch.path());
        command.args(["-N", &operations.to_string(), "-S", &seed.to_string()]);
        running.push((seed, Running::start(command.arg(directory.join(format!("fsx-{seed}"))))?));
    }
    for (seed, one) in running {
        check(&one.finish(limit)?).context(format!("fsx -S {seed} -N {operations}"))?;
    }
    Ok(FsxSummary {
        operations: u64::from(operations) * seeds.len() as u64,
        operations_of_each: operations,
        seeds,
        configuration: text,
        left_out: lacking.map(|errno| format!("punch_hole: {errno}")),
    })
}

fn configured(punches_holes: bool) -> String {
    if punches_holes { CONFIGURATION.to_owned() } else { CONFIGURATION.replace(PUNCH_HOLE, "") }
}

/// Checks its exit status, and its message that it has completed all operations.
fn check(done: &Finished) -> Result<(), Failure> {
    done.must_succeed("it")?;
    require!(
        done.output.contains("All operations completed"),
        "it does not say that all operations were completed: {}",
        done.output
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_hole_punching_only_that_line_is_left_out() {
        let (with, without) = (configured(true), configured(false));
        assert_eq!(with, CONFIGURATION);
        assert!(with.contains("punch_hole") && !without.contains("punch_hole"));
        assert_eq!(with.lines().count(), without.lines().count() + 1);
    }
}
