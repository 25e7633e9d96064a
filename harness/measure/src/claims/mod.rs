//! Checks whether the claims of a benchmark program, ours or a third party's, are authentic.
//!
//! The program is run in an empty directory of a mounted home, and prints lines `NAME ... RATE
//! ops/sec`. Its claims are compared with the counters of the files that it made, the time that it
//! ran, and the speed at which we ourselves store the rows of those files and search in them.

mod again;
mod claim;
mod judge;
mod new_files;
mod pace;
mod seen;

use std::path::Path;
use std::time::{Duration, Instant};

use evidence::protocol::PROTOCOL;
use machine::child::Running;
use machine::config;
use machine::config::ConfiguredCommand;
use machine::environment::file_hash;
use machine::failure::{Failure, WithContext};
use machine::under_test::Program;
use nix::sys::statfs::statfs;
use serde::Serialize;
use vexfs_uapi::Home;

pub use self::claim::{Claim, ClaimedWork, claims};
pub use self::judge::judge;
pub use self::new_files::{MadeFiles, NewFiles};
pub use self::pace::{Fastest, Pace, fastest};
pub use self::seen::Seen;

/// How long a benchmark may run; an emulated guest is slow.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// What a program claimed, and what we observed.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimsReport {
    /// Program and arguments.
    pub command: Vec<String>,
    /// SHA-256 of the program, and of its arguments that are files.
    pub hashes: Vec<(String, String)>,
    /// Type of the file system on which it was run.
    pub file_system_type: String,
    /// Its claims.
    pub claims: Vec<Claim>,
    /// What the home counted.
    pub seen: Seen,
    /// From its start to its end.
    pub wall: Duration,
}

/// The benchmark that `vexfs.toml` names, or else ours, which is built if missing. On an `emulated`
/// processor, which is slow, ours is run with less work.
///
/// # Errors
/// If `vexfs.toml` is refused, or our benchmark cannot be built.
pub fn configured(emulated: bool) -> Result<ConfiguredCommand, Failure> {
    if let Some(own) = &config::current()?.benchmark {
        return Ok(own.clone());
    }
    let mut ours = ConfiguredCommand::of(Program::Benchmark.build_if_missing()?);
    if emulated {
        let less = ["--rows=1000", "--queries=10", "--runs=3", "--warmup=1"];
        ours.arguments = less.map(str::to_owned).to_vec();
    }
    Ok(ours)
}

/// Runs `benchmark` on `mount`, which `home` serves, and judges its claims.
///
/// # Errors
/// If it cannot be run or fails, or its claims are not authentic; the error shows the calculation.
pub fn run(
    benchmark: &ConfiguredCommand,
    mount: &Path,
    home: Home,
) -> Result<ClaimsReport, Failure> {
    let file_system_type = format!("{:#x}", statfs(mount)?.filesystem_type().0);
    let mut benchmark = benchmark.clone();
    if !benchmark.mentions("mountpoint") {
        benchmark.arguments.push("{mountpoint}".to_owned());
    }
    let mut command = benchmark.filled(&[("mountpoint", vec![mount.display().to_string()])]);
    let command_line: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let name = command_line.first().cloned().unwrap_or_default();
    let hashes = hashes(&command_line, &benchmark.directory);

    let new_files = NewFiles::begin(mount)?;
    let started = Instant::now();
    let finished = Running::start(&mut command)?.finish(LIMIT)?;
    let wall = started.elapsed();
    let made = new_files.end()?;

    finished.must_succeed(&name)?;
    let claims = claims(&finished.output, &PROTOCOL).context(format!("not authentic: {name}"))?;
    let seen = Seen::of(&made, home).context(&name)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    judge(&claims, &seen, wall, processors).context(&name)?;
    Ok(ClaimsReport { command: command_line, hashes, file_system_type, claims, seen, wall })
}

fn hashes(words: &[String], directory: &Path) -> Vec<(String, String)> {
    words
        .iter()
        .filter(|word| directory.join(word).is_file())
        .map(|word| (word.clone(), file_hash(directory.join(word))))
        .collect()
}
