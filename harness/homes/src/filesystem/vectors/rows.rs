//! Rows that change: as soon as write(2), truncate(2) or fallocate(2) has returned, every search
//! sees the new rows.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use rustix::fs::{FallocateFlags, fallocate};
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};
use vexfs_uapi::{Hit, Kind};

use super::file::{
    DIM, K, ROW, declaration, expect_current, expect_row, indexed, nearest, small, vector_file,
    write_row,
};
use crate::filesystem::expect::expect_errno;
use crate::filesystem::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    attach_and_search_exactly,
    appended_rows_are_found,
    rows_come_in_odd_pieces,
    rows_are_written_out_of_order,
    truncated_rows_are_not_found,
    overwritten_rows_are_found,
    holes_are_rows_of_zeros,
    indexes_of_empty_files_grow,
    nan_is_refused,
];

fn attach_and_search_exactly(dir: &Path) -> Result<(), Failure> {
    let file = indexed(dir, &small().base)?;
    expect_current(&file, 0, true)
}

fn appended_rows_are_found(dir: &Path) -> Result<(), Failure> {
    let data = small();
    indexed(dir, &data.base[..DIM * 100])?;
    let mut file = OpenOptions::new().read(true).append(true).open(dir.join("base.f32"))?;
    for row in 100..200 {
        let vector = data.row(row);
        // Written in two halves: half a row must not count as a row.
        let bytes = dataset::bytes(vector);
        file.write_all(&bytes[..50])?;
        require!(stats(&file, 0)?.rows == row as u64, "half a row counts as one");
        file.write_all(&bytes[50..])?;
        expect_row(&file, row, vector)?;
    }
    expect_current(&file, 0, true)
}

fn rows_come_in_odd_pieces(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &[])?;
    let bytes = dataset::bytes(&data.base);
    let mut written = 0;
    for length in [1, 7, ROW - 8, 3, ROW + 1, 50, 4_096, 5 * ROW, 9_999].into_iter().cycle() {
        let end = (written + length).min(bytes.len());
        file.write_all_at(&bytes[written..end], written as u64)?;
        written = end;
        let rows = stats(&file, 0)?.rows;
        require!(rows == (written / ROW) as u64, "{rows} rows are indexed, of {written} bytes");
        if rows > 0 {
            let last = rows as usize - 1;
            expect_row(&file, last, data.row(last))?;
        }
        if written == bytes.len() {
            break;
        }
    }
    expect_current(&file, 0, true)
}

/// Rows that have not been written yet are holes.
fn rows_are_written_out_of_order(dir: &Path) -> Result<(), Failure> {
    const ROWS: usize = 97;
    let data = small();
    let file = indexed(dir, &[])?;
    // 31 and 97 have no common factor, so all rows are reached.
    for step in 0..ROWS {
        let row = (step * 31 + 50) % ROWS;
        write_row(&file, row, data.row(row))?;
        expect_row(&file, row, data.row(row))?;
        if step % 24 == 0 {
            expect_current(&file, 0, true).context(format!("after {step} rows"))?;
        }
    }
    let rows = stats(&file, 0)?.rows;
    require!(rows == ROWS as u64, "{rows} rows are indexed, expected {ROWS}");
    expect_current(&file, 0, true)
}

fn truncated_rows_are_not_found(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base)?;
    // Truncates in the middle of a row, at its end, and to nothing.
    for length in [10 * ROW + 7, 10 * ROW, 9 * ROW + 95, 1, 0] {
        file.set_len(length as u64)?;
        expect_current(&file, 0, true).context(format!("{length} bytes"))?;
    }
    // A row that was cut off in its middle must not come back when the file grows.
    write_row(&file, 0, data.row(0))?;
    write_row(&file, 1, data.row(1))?;
    file.set_len(ROW as u64 + 10)?;
    file.set_len(2 * ROW as u64)?;
    require!(nearest(&file, data.row(1), 1)?[0].distance != 0, "a row that was cut off is back");
    expect_current(&file, 0, true)?;
    // O_TRUNC truncates as well, and the index stays.
    OpenOptions::new().write(true).truncate(true).open(dir.join("base.f32"))?;
    expect_current(&file, 0, true).context("O_TRUNC")
}

fn overwritten_rows_are_found(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 300])?;
    write_row(&file, 17, data.row(600))?;
    expect_row(&file, 17, data.row(600))?;
    require!(
        nearest(&file, data.row(17), 1)?[0].distance != 0,
        "the former content of row 17 is still found"
    );
    // Overwrites one component, then the end of a row and the beginning of the next, then many
    // rows.
    file.write_all_at(&0.5_f32.to_le_bytes(), (30 * ROW + 40) as u64)?;
    expect_current(&file, 0, true).context("one component")?;
    file.write_all_at(&dataset::bytes(data.row(601))[..40], (41 * ROW - 20) as u64)?;
    expect_current(&file, 0, true).context("parts of two rows")?;
    file.write_all_at(dataset::bytes(&data.base[DIM * 400..]), (100 * ROW) as u64)?;
    expect_current(&file, 0, true).context("200 rows, and 100 new ones")
}

fn holes_are_rows_of_zeros(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 50])?;
    let zeros = [0.0; DIM];
    file.set_len(60 * ROW as u64)?;
    expect_row(&file, 50, &zeros)?;
    write_row(&file, 200, data.row(200))?;
    let hits = nearest(&file, &zeros, K)?;
    let rows: Vec<u64> = hits.iter().map(|hit| hit.row).collect();
    require!(rows == (50..60).collect::<Vec<u64>>(), "the first rows of zeros are {rows:?}");
    expect_current(&file, 0, true).context("truncate and a write beyond the end")?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let from = 10 * ROW + 20;
    fallocate(&file, punch, from as u64, 5_000).context("FALLOC_FL_PUNCH_HOLE")?;
    expect_row(&file, 11, &zeros)?;
    expect_current(&file, 0, true).context("a hole punched")?;
    fallocate(&file, FallocateFlags::empty(), 0, 230 * ROW as u64).context("fallocate")?;
    expect_current(&file, 0, true).context("allocated beyond the end")
}

fn indexes_of_empty_files_grow(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = vector_file(dir, &[])?;
    for (index, kind) in (0..).zip(Kind::ALL) {
        let rows = attach(&file, &Declaration { kind, index, ..declaration() });
        require!(rows.context(format!("{kind:?}"))? == 0, "an empty file has rows");
        expect_current(&file, index, true).context(format!("{kind:?} of an empty file"))?;
    }
    write_row(&file, 0, data.row(0))?;
    for slot in 0..5 {
        expect_current(&file, slot, true).context(format!("slot {slot} of a file of one row"))?;
    }
    file.write_all_at(dataset::bytes(&data.base), 0)?;
    for slot in 0..5 {
        expect_current(&file, slot, slot == 0).context(format!("slot {slot}"))?;
    }
    Ok(())
}

fn nan_is_refused(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 10])?;
    // The bound up to which the contract defines distances.
    let bound = 2f32.powi(56);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, bound, -bound, 1e19, f32::MAX] {
        let mut row = data.row(20).to_vec();
        row[DIM / 2] = bad;
        for at in [10, 3] {
            let written = file.write_all_at(dataset::bytes(&row), (at * ROW) as u64);
            expect_errno(written, libc::EINVAL, "a row out of range")?;
        }
        let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
        let found = searcher.search(&file, &row).map(<[Hit]>::len);
        expect_errno(found, libc::EINVAL, "a query out of range")?;
    }
    let length = file.metadata()?.len();
    require!(length == (ROW * 10) as u64, "a refused write left {length} bytes");
    expect_current(&file, 0, true)?;
    // In half a row, a NaN is accepted until the row is complete.
    file.write_all_at(&f32::NAN.to_le_bytes(), (10 * ROW) as u64).context("NaN in a half row")?;
    let whole = file.write_all_at(&[0; ROW - 4], (10 * ROW + 4) as u64);
    expect_errno(whole, libc::EINVAL, "the rest of a row with a NaN")?;
    write_row(&file, 10, data.row(10)).context("the row, finite")?;
    expect_current(&file, 0, true)?;
    // The largest distance between two rows.
    let largest = f32::from_bits(bound.to_bits() - 1);
    write_row(&file, 11, &[largest; DIM]).context("the largest row")?;
    let farthest = Searcher::new(DIM as u32, 12, 0)?.search(&file, &[-largest; DIM])?[11];
    let (row, distance) = (farthest.row, f32::from_bits(farthest.distance));
    let exact = DIM as f64 * (2.0 * f64::from(largest)).powi(2);
    require!(
        row == 11 && (f64::from(distance) / exact - 1.0).abs() < 1e-5,
        "row {row} is reported farthest, at {distance:?}; expected row 11, at {exact:e}"
    );
    Ok(())
}
