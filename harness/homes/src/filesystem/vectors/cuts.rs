//! Truncating a file that has several indexes, and killing the process that does it. All indexes
//! must lose the same rows, and then answer for exactly the rows that the file still has.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use machine::child::Running;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset::{self, Dataset};
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Hit, Kind};

use crate::filesystem::operation::{Effort, Operation, operations};

pub(super) const OPERATIONS: &[Operation] =
    operations![several_indexes_lose_their_rows_together.effort(Effort::Long)];

/// Components of the rows in each of the two graphs.
const DIMS: [u32; 2] = [8, 12];
/// How many rows the first graph was built with. With half of them or fewer it is rebuilt.
const MOST: u64 = 400;
/// Bytes of the file before it is cut: 240 rows of one graph and 160 of the other.
const SIZE: u64 = 7_680;
/// A size at which the first graph is rebuilt and the other is not, and a size at which neither is.
const WITH_A_NEW_GRAPH: u64 = 5_760;
const IN_STEP: u64 = 6_600;
/// The slot of a fresh index over the file as it is.
const ANEW: u32 = 2;
/// How long a killed process may take to end, on any machine.
const END: Duration = Duration::from_secs(60);

/// When the process that cuts the file is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Killed {
    Never,
    AtOnce,
    WhenRowsAreGone,
}

fn several_indexes_lose_their_rows_together(dir: &Path) -> Result<(), Failure> {
    for size in [WITH_A_NEW_GRAPH, IN_STEP] {
        for killed in [Killed::Never, Killed::AtOnce, Killed::WhenRowsAreGone] {
            cut(&dir.join("base.f32"), size, killed)
                .context(format!("truncate from {SIZE} to {size} bytes, killed {killed:?}"))?;
        }
    }
    Ok(())
}

fn row_bytes(dim: u32) -> u64 {
    u64::from(dim) * size_of::<f32>() as u64
}

/// Makes a file with both graphs over it.
fn made(path: &Path) -> Result<File, Failure> {
    let data = Dataset::generate(7, MOST as usize, DIMS[0] as usize, 0);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.write_all_at(dataset::bytes(&data.base), 0)?;
    for (index, dim) in (0..).zip(DIMS) {
        // Parameters that make each row expensive enough to be noticed.
        let params = [32, 400, 0, 0, 0, 0, 0, 0];
        let declared = Declaration { kind: Kind::Hnsw, index, params, ..Declaration::flat(dim) };
        attach(&file, &declared).context("ATTACH")?;
        file.set_len(SIZE).context("truncating a file with one index")?;
    }
    Ok(file)
}

/// The offsets at which the rows of each index end.
fn ends(file: &File) -> Result<[u64; 2], Failure> {
    let end = |index: u32| -> Result<u64, Failure> {
        Ok(stats(file, index).context("STATS")?.rows * row_bytes(DIMS[index as usize]))
    };
    loop {
        // Both ends at the same time: read the first one again, since rows are only removed.
        let [first, other, again] = [end(0)?, end(1)?, end(0)?];
        if first == again {
            return Ok([first, other]);
        }
    }
}

fn cut(path: &Path, size: u64, killed: Killed) -> Result<(), Failure> {
    let file = made(path)?;
    let before = ends(&file)?;
    let cutter =
        Running::start(Command::new("truncate").arg("-s").arg(size.to_string()).arg(path))?;
    let mut killed_at = None;
    while cutter.ended()?.is_none() {
        let now = ends(&file)?;
        require!(
            now[0].abs_diff(now[1]) < row_bytes(DIMS[1]),
            "index 0 ends at byte {} and index 1 at byte {}: one has lost rows without the other",
            now[0],
            now[1]
        );
        let due = match killed {
            Killed::Never => false,
            Killed::AtOnce => true,
            Killed::WhenRowsAreGone => now != before,
        };
        if due && killed_at.is_none() {
            // The process may just have ended.
            cutter.kill();
            killed_at = Some(now);
        }
    }
    let status = cutter.finish(END)?.status;
    let length = file.metadata()?.len();
    let is_due = match (status.success(), size) {
        (true, _) => length == size,
        // The truncation is done completely or not at all.
        (false, WITH_A_NEW_GRAPH) => length == SIZE || length == size,
        (false, _) => (size..=SIZE).contains(&length),
    };
    require!(is_due, "the file has {length} bytes; killed at {killed_at:?}, it ended: {status}");
    for (index, dim) in (0..).zip(DIMS) {
        as_a_fresh_one(&file, index, dim).context(format!("index {index} of {length} bytes"))?;
    }
    drop(file);
    std::fs::remove_file(path).context("unlink")
}

/// Checks that the index has all rows of the file and no others, at the right distances.
fn as_a_fresh_one(file: &File, index: u32, dim: u32) -> Result<(), Failure> {
    let rows = file.metadata()?.len() / row_bytes(dim);
    let indexed = stats(file, index).context("STATS")?.rows;
    require!(indexed == rows, "{indexed} rows are indexed, the file has {rows}");
    let fresh = Declaration { index: ANEW, ..Declaration::flat(dim) };
    attach(file, &fresh).context("ATTACH")?;
    let all = |slot| -> Result<Vec<Hit>, Failure> {
        let mut searcher = Searcher::new(dim, u32::try_from(rows)?, slot)?;
        let mut hits = searcher.search(file, &vec![0.5; dim as usize]).context("SEARCH")?.to_vec();
        hits.sort_by_key(|hit| hit.row);
        Ok(hits)
    };
    let (here, anew) = (all(index)?, all(ANEW)?);
    require!(here.len() == anew.len(), "{} rows are found, expected {rows}", here.len());
    let other = here
        .iter()
        .zip(&anew)
        .find(|(here, anew)| (here.row, here.distance) != (anew.row, anew.distance));
    require!(other.is_none(), "it answers differently from a fresh index: {other:?}");
    detach(file, ANEW).context("DETACH")
}
