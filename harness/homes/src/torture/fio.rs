//! fio: several jobs write at the same time, in blocks of many sizes, and verify the checksum of
//! each block when they read it back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use machine::child::Running;
use machine::failure::{Failure, WithContext};
use machine::require;
use serde::{Deserialize, Serialize};

use super::{program, scale};

/// An emulated guest takes about 10 s.
const LIMIT: Duration = Duration::from_secs(300);

/// 17 MiB, all jobs at the same time.
const JOBS: &str = "\
[global]
verify=crc32c
verify_fatal=1
randseed=1
end_fsync=1
fallocate=none

[sequential]
rw=write
bs=64k
size=4m

[random]
rw=randwrite
bs=4k
size=1m
numjobs=2

[sectors]
rw=randwrite
bs=512
size=128k

[large]
rw=write
bs=1m
size=8m

[mapped]
ioengine=mmap
rw=randwrite
bs=4k
size=1m

[mapped_sequential]
ioengine=mmap
rw=write
bs=16k
size=2m
";

/// fio's report (fio(1), "JSON output").
#[derive(Debug, Deserialize)]
struct FioReport {
    jobs: Vec<Job>,
}

/// The result of a job.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    #[serde(rename = "jobname")]
    name: String,
    /// 0, or the errno with which it ended.
    error: i32,
    read: Transferred,
    write: Transferred,
}

#[derive(Debug, Serialize, Deserialize)]
struct Transferred {
    io_bytes: u64,
}

/// A summary for the evidence.
#[derive(Debug, Serialize)]
pub struct FioSummary {
    jobs: Vec<Job>,
    rounds: u32,
}

/// Writes and verifies files in `directory`.
///
/// # Errors
/// A block that differs from what was written, with fio's message, or a job that was not completed.
pub fn run(directory: &Path) -> Result<FioSummary, Failure> {
    let scratch = tempfile::tempdir()?;
    let [jobs, report] = ["jobs.fio", "report.json"].map(|name| scratch.path().join(name));
    let rounds = scale()?;
    fs::write(&jobs, JOBS)?;
    let mut command = program("fio")?;
    // Files that a failing job leaves behind stay in the scratch directory.
    command.current_dir(scratch.path()).arg(format!("--loops={rounds}"));
    command.arg("--output-format=json").arg("--output").arg(&report);
    command.arg("--directory").arg(directory).arg(&jobs);
    Running::start(&mut command)?.finish(LIMIT * rounds)?.must_succeed("fio")?;
    let text = fs::read_to_string(&report).context("fio's report")?;
    let FioReport { jobs } = serde_json::from_str(&text).context("fio's report")?;
    require!(
        jobs.len() == JOBS.matches("\nrw=").count() + 1,
        "fio reports {} jobs, not those that it was given",
        jobs.len()
    );
    for job in &jobs {
        let verified = job.read.io_bytes >= job.write.io_bytes && job.write.io_bytes > 0;
        require!(
            job.error == 0 && verified,
            "a job failed, or verified less than it wrote: {job:?}"
        );
    }
    Ok(FioSummary { jobs, rounds })
}
