//! Holes: files that are longer than the data stored in them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use rustix::fs::{SeekFrom as SparseSeek, seek};

use super::asked::{HOLES, LARGEST_OFFSET};
use super::contract::{ByContract, Lacking, contract_requires};
use super::expect::{expect_errno, noise};
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] =
    operations![sparse_file, seek_data_and_hole, the_largest_offset,];

/// The unit of storage in both homes: a page.
const BLOCK: u64 = 4096;

fn file(path: &Path) -> Result<File, Failure> {
    Ok(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?)
}

fn sparse_file(dir: &Path) -> Result<(), Failure> {
    const END: u64 = 64 << 20;
    let mut file = file(&dir.join("f"))?;
    file.write_all_at(b"end", END)?;
    let metadata = file.metadata()?;
    require!(metadata.len() == END + 3, "the file has the size {}", metadata.len());
    let mut hole = vec![1; 10_000];
    file.seek(SeekFrom::Start(END / 2))?;
    file.read_exact(&mut hole)?;
    require!(hole.iter().all(|&byte| byte == 0), "a hole does not read as zeros");
    let blocks = metadata.blocks();
    contract_requires!(
        HOLES,
        blocks < END / 2 / 512,
        "a hole of {END} bytes takes {blocks} blocks"
    );
    Ok(())
}

/// Data in blocks 0, 3 and 4, and a hole at the end.
fn seek_data_and_hole(dir: &Path) -> Result<(), Failure> {
    const SIZE: u64 = 20 * BLOCK;
    let file = file(&dir.join("f"))?;
    file.set_len(SIZE)?;
    file.write_all_at(&noise(10), 0)?;
    file.write_all_at(&noise(5_000), 3 * BLOCK)?;
    seek(&file, SparseSeek::Data(0)).context("SEEK_DATA").by_contract(HOLES)?;
    for whence in [SparseSeek::Data(SIZE), SparseSeek::Hole(SIZE)] {
        expect_errno(seek(&file, whence), libc::ENXIO, &format!("{whence:?}, at the end"))?;
    }
    let mut lacking = Lacking::default();
    for (from, data, hole) in [
        (0, Some(0), BLOCK),
        (9, Some(9), BLOCK),
        (BLOCK, Some(3 * BLOCK), BLOCK),
        (2 * BLOCK + 7, Some(3 * BLOCK), 2 * BLOCK + 7),
        (4 * BLOCK, Some(4 * BLOCK), 5 * BLOCK),
        (5 * BLOCK, None, 5 * BLOCK),
        (SIZE - 1, None, SIZE - 1),
    ] {
        lacking.note(finds_data(&file, from, data))?;
        lacking.note(finds_hole(&file, from, hole))?;
    }
    lacking.told()
}

/// Checks that SEEK_DATA from `from` on finds the data at `due`, or with `None` that there is none.
/// lseek(2) may take holes for data everywhere, but it must not pass over data.
pub(super) fn finds_data(file: &File, from: u64, due: Option<u64>) -> Result<(), Failure> {
    let told = format!("SEEK_DATA from {from}");
    let found = match seek(file, SparseSeek::Data(from)) {
        Ok(found) => Some(found),
        Err(rustix::io::Errno::NXIO) => None,
        Err(error) => return Err(error).context(told).by_contract(HOLES),
    };
    let passes_over = due.is_some_and(|due| found.is_none_or(|found| found > due));
    require!(!passes_over, "{told} passes over data: {found:?}, expected {due:?}");
    contract_requires!(HOLES, found == due, "{told}: {found:?}, expected {due:?}");
    Ok(())
}

/// Checks that SEEK_HOLE from `from` on finds the hole at `due`. lseek(2) may take this hole for
/// data, but it must not take the data before it for a hole.
pub(super) fn finds_hole(file: &File, from: u64, due: u64) -> Result<(), Failure> {
    let told = format!("SEEK_HOLE from {from}");
    let found = seek(file, SparseSeek::Hole(from)).context(&told).by_contract(HOLES)?;
    require!(found >= due, "{told} reports data as a hole: {found}, expected {due}");
    contract_requires!(HOLES, found == due, "{told}: {found}, expected {due}");
    Ok(())
}

/// The last byte that `loff_t` can address.
fn the_largest_offset(dir: &Path) -> Result<(), Failure> {
    const LAST: u64 = i64::MAX as u64 - 1;
    let file = file(&dir.join("f"))?;
    let written = file.write_all_at(b"z", LAST).context("a write to the last byte");
    written.by_contract(LARGEST_OFFSET)?;
    require!(
        file.metadata()?.len() == LAST + 1,
        "the file has the size {}",
        file.metadata()?.len()
    );
    let mut byte = [0];
    file.read_exact_at(&mut byte, LAST)?;
    require!(byte == *b"z", "the last byte is {byte:?}");
    // tmpfs does not find what lies there, so that this is more than Linux has.
    let found = seek(&file, SparseSeek::Data(0)).context("SEEK_DATA");
    let mut lacking = Lacking::default();
    lacking.note(found.by_contract(LARGEST_OFFSET).and_then(|found| {
        let due = LAST / BLOCK * BLOCK;
        require!(found <= LAST, "SEEK_DATA passes over the last byte: {found}");
        contract_requires!(HOLES, found == due, "SEEK_DATA finds {found}, expected {due}");
        Ok(())
    }))?;
    let beyond = rustix::io::pwrite(&file, b"more than fits", LAST);
    match beyond {
        Ok(1) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::FBIG) => {}
        other => machine::fail!("a write beyond the largest offset: {other:?}"),
    }
    file.set_len(0)?;
    require!(file.metadata()?.len() == 0, "an empty file has a size");
    contract_requires!(HOLES, file.metadata()?.blocks() == 0, "an empty file has blocks");
    lacking.told()
}
