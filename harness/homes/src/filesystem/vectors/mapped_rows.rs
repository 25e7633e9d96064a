//! Rows written through mappings must be found after msync, fsync or munmap.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use vexfs_uapi::client::{Declaration, Searcher, attach};

use super::file::{DIM, ROW, expect_current, expect_row, indexed, nearest, small};
use crate::filesystem::capacity::fill;
use crate::filesystem::expect::expect_errno;
use crate::filesystem::mapped::Mapping;
use crate::filesystem::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    mapped_rows_are_found_after_msync,
    mapped_rows_are_found_after_fsync,
    mapped_rows_are_found_after_munmap,
    mapped_rows_are_found_after_every_munmap,
    mapped_nan_keeps_the_row_as_it_was,
    mapped_nan_and_a_full_mount_keep_the_index.on("size=2M"),
];

/// Stores rows through a mapping, twice, and calls `synchronise` to make the index see them.
fn check(
    dir: &Path,
    synchronise: fn(&File, Mapping) -> Result<Option<Mapping>, Failure>,
) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 300])?;
    let mut mapping = None;
    // Row 42 spans two pages: its bytes are 4,032 to 4,127.
    for (round, rows) in [[3, 42, 299], [42, 4, 100]].into_iter().enumerate() {
        let mapped = match mapping.take() {
            Some(mapped) => mapped,
            None => Mapping::shared(&file, 300 * ROW)?,
        };
        for row in rows {
            mapped.store(row * ROW, dataset::bytes(data.row(400 + 10 * round + row)));
        }
        mapping = synchronise(&file, mapped)?;
        for row in rows {
            expect_row(&file, row, data.row(400 + 10 * round + row))?;
            let before = if round == 1 && row == 42 { data.row(442) } else { data.row(row) };
            let gone = nearest(&file, before, 1)?[0].distance != 0;
            require!(gone, "the former content of row {row} is still found");
        }
        expect_current(&file, 0, true)?;
    }
    Ok(())
}

fn mapped_rows_are_found_after_msync(dir: &Path) -> Result<(), Failure> {
    check(dir, |_, mapping| {
        mapping.sync().context("msync")?;
        Ok(Some(mapping))
    })
}

fn mapped_rows_are_found_after_fsync(dir: &Path) -> Result<(), Failure> {
    check(dir, |file, mapping| {
        file.sync_all().context("fsync")?;
        Ok(Some(mapping))
    })
}

fn mapped_rows_are_found_after_munmap(dir: &Path) -> Result<(), Failure> {
    check(dir, |_, mapping| {
        drop(mapping);
        Ok(None)
    })
}

/// Repeated often, because a search after munmap seldom overtakes the write-back.
fn mapped_rows_are_found_after_every_munmap(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 300])?;
    for round in 0..100 {
        let (row, stored) = (round * 7 % 300, data.row(400 + round));
        let mapping = Mapping::shared(&file, 300 * ROW)?;
        mapping.store(row * ROW, dataset::bytes(stored));
        drop(mapping);
        expect_row(&file, row, stored).context(format!("round {round}"))?;
    }
    expect_current(&file, 0, true)
}

fn mapped_nan_keeps_the_row_as_it_was(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 100])?;
    let mapping = Mapping::shared(&file, 100 * ROW)?;
    for odd in [f32::NAN, 1e19] {
        mapping.store(7 * ROW + 8, &odd.to_le_bytes());
        expect_errno(mapping.sync(), libc::EINVAL, "msync of a row out of range")?;
        expect_row(&file, 7, data.row(7)).context(format!("the row with a component of {odd}"))?;
    }
    mapping.store(7 * ROW, dataset::bytes(data.row(200)));
    // A page becomes dirty before the first byte is stored into it, and the kernel may write it
    // back at once. The previous row is then refused once more, which one msync reports.
    match mapping.sync() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            mapping.sync().context("a second msync of the row, finite again")?;
        }
        outcome => outcome.context("msync of the row, finite again")?,
    }
    expect_row(&file, 7, data.row(200))?;
    expect_current(&file, 0, true)
}

/// A failed change is undone from what the file holds, which may not be a valid row.
fn mapped_nan_and_a_full_mount_keep_the_index(dir: &Path) -> Result<(), Failure> {
    // A row of many pages: changing it needs more room than is left in a last page.
    const WIDE: usize = 4080;
    let row = |value: f32| vec![value; WIDE];
    let path = dir.join("wide.f32");
    fs::write(&path, dataset::bytes(&[row(1.0), row(2.0), row(3.0)].concat()))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    attach(&file, &Declaration::flat(WIDE as u32)).context("ATTACH")?;
    let bytes = WIDE * size_of::<f32>();
    let mapping = Mapping::shared(&file, 3 * bytes)?;
    mapping.store(bytes, &f32::NAN.to_le_bytes());
    expect_errno(mapping.sync(), libc::EINVAL, "msync of a row with a NaN")?;
    fill(&dir.join("filler"))?;

    let written = file.write_all_at(dataset::bytes(&row(4.0)), bytes as u64);
    let holds = match written {
        Ok(()) => 4.0,
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => 2.0,
        Err(error) => return Err(error).context("writing a row on a full mount"),
    };
    let mut searcher = Searcher::new(WIDE as u32, 1, 0)?;
    for (number, value) in [1.0, holds, 3.0].into_iter().enumerate() {
        let hits = searcher.search(&file, &row(value)).context("SEARCH after the write")?;
        let found = matches!(hits[..], [hit] if hit.row == number as u64 && hit.distance == 0);
        require!(found, "row {number} is not found as it was: {hits:?}");
    }
    Ok(())
}
