//! Partial writes: one row of a large write contains a NaN, and the kernel splits the write into
//! several requests.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

use crate::filesystem::expect::same;
use crate::filesystem::operation::{Effort, Operation, operations};

pub(super) const OPERATIONS: &[Operation] =
    operations![a_write_with_nan_is_refused_or_says_how_much.effort(Effort::Long)];

const DIM: usize = 4;
const ROW: usize = DIM * size_of::<f32>();
const PAGE: usize = 4096;
/// No home splits a write of at most this many bytes that begins at a page boundary.
const WHOLE: usize = 1 << 20;

/// A write of rows, one of which is invalid.
struct PartCase {
    /// How many rows the file has before.
    there: usize,
    /// The first row that is written, and the number of rows.
    first: usize,
    rows: usize,
    /// Which of the written rows is invalid.
    bad: usize,
}

const fn case(there: usize, first: usize, rows: usize, bad: usize) -> PartCase {
    PartCase { there, first, rows, bad }
}

const CASES: &[PartCase] = &[
    // Writes that begin at a page boundary.
    case(0, 0, 400, 399),
    case(0, 0, 400, 0),
    case(256, 256, 400, 399),
    case(600, 256, 300, 299),
    case(0, 0, WHOLE / ROW, WHOLE / ROW - 1),
    // Writes that begin in the middle of a page, and end in it or beyond.
    case(1, 1, 400, 399),
    case(1, 1, 400, 0),
    case(1, 1, 40, 39),
    case(255, 255, 2, 1),
    case(700, 100, 500, 499),
    // Writes of more than a megabyte.
    case(0, 0, WHOLE / ROW + 300, WHOLE / ROW + 299),
    case(1, 1, WHOLE / ROW + 300, 100),
];

/// Row `number` is at position `number` on a line, so a distance tells which row was found.
fn rows(numbers: std::ops::Range<usize>) -> Vec<f32> {
    let mut values = vec![0.0; numbers.len() * DIM];
    for (row, number) in values.chunks_exact_mut(DIM).zip(numbers) {
        row[0] = number as f32;
    }
    values
}

/// The write must fail with EINVAL and change nothing. Or, if the kernel splits it, it must return
/// how many bytes were written; these must be whole requests, and in the file.
fn a_write_with_nan_is_refused_or_says_how_much(dir: &Path) -> Result<(), Failure> {
    for (number, one) in CASES.iter().enumerate() {
        let PartCase { there, first, rows: count, bad } = *one;
        let told = format!(
            "a write of {count} rows of {ROW} bytes from row {first} on, with a NaN in row {bad} of \
             them, to a file of {there}"
        );
        tried(dir, number, one).context(told)?;
    }
    Ok(())
}

fn tried(dir: &Path, number: usize, one: &PartCase) -> Result<(), Failure> {
    let PartCase { there, first, rows: count, bad } = *one;
    let path = dir.join(format!("{number}.f32"));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    let before = rows(0..there);
    file.write_all_at(dataset::bytes(&before), 0)?;
    attach(&file, &Declaration::flat(DIM as u32)).context("ATTACH")?;
    // Rows with other values than before.
    let mut new = rows(WHOLE..WHOLE + count);
    new[bad * DIM + DIM - 1] = f32::NAN;
    let (data, at) = (dataset::bytes(&new), first * ROW);
    let done = match file.write_at(data, at as u64) {
        Ok(done) => done,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => 0,
        Err(error) => return Err(error).context("write"),
    };
    let in_one = at.is_multiple_of(PAGE) && data.len() <= WHOLE;
    require!(
        done == 0 || !in_one && (at + done).is_multiple_of(PAGE) && done <= bad * ROW,
        "write(2) reports {done} bytes, expected EINVAL, or an end at a page before the NaN"
    );
    let mut due = dataset::bytes(&before).to_vec();
    due.resize(due.len().max(at + done), 0);
    due[at..at + done].copy_from_slice(&data[..done]);
    same(&path, &due)?;
    let whole = due.len() / ROW;
    let indexed = stats(&file, 0).context("STATS")?.rows;
    require!(indexed == whole as u64, "{indexed} rows are indexed, the file has {whole}");
    let written = first..first + done / ROW;
    let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
    for row in
        [0, first.saturating_sub(1), first, written.end.saturating_sub(1), whole.saturating_sub(1)]
    {
        if row >= whole {
            continue;
        }
        let value = if written.contains(&row) { WHOLE + row - first } else { row };
        let hits = searcher.search(&file, &rows(value..value + 1)).context("SEARCH")?;
        let found = matches!(hits, [hit] if hit.row == row as u64 && hit.distance == 0);
        require!(found, "a search for row {row} of the file does not find it: {hits:?}");
    }
    std::fs::remove_file(&path).context("unlink")
}
