//! Holes: files that are longer than the data stored in them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use rustix::fs::{SeekFrom as SparseSeek, seek};

use super::contract::{ByContract, HOLES};
use super::expect::{expect_errno, noise};
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    sparse_file,
    seek_data_and_hole.by_contract(HOLES),
    the_largest_offset.by_contract("a file may reach to the largest offset of off_t"),
];

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
    require!(metadata.len() == END + 3, "size {}", metadata.len());
    let mut hole = vec![1; 10_000];
    file.seek(SeekFrom::Start(END / 2))?;
    file.read_exact(&mut hole)?;
    require!(hole.iter().all(|&byte| byte == 0), "a hole does not read as zeros");
    takes_no_room(metadata.blocks(), END).by_contract(HOLES)
}

fn takes_no_room(blocks: u64, hole: u64) -> Result<(), Failure> {
    require!(blocks * 512 < hole / 2, "a hole of {hole} bytes takes {blocks} blocks");
    Ok(())
}

/// Data in blocks 0, 3 and 4, and a hole at the end.
fn seek_data_and_hole(dir: &Path) -> Result<(), Failure> {
    const SIZE: u64 = 20 * BLOCK;
    let file = file(&dir.join("f"))?;
    file.set_len(SIZE)?;
    file.write_all_at(&noise(10), 0)?;
    file.write_all_at(&noise(5_000), 3 * BLOCK)?;
    for (from, data, hole) in [
        (0, Some(0), BLOCK),
        (9, Some(9), BLOCK),
        (BLOCK, Some(3 * BLOCK), BLOCK),
        (2 * BLOCK + 7, Some(3 * BLOCK), 2 * BLOCK + 7),
        (4 * BLOCK, Some(4 * BLOCK), 5 * BLOCK),
        (5 * BLOCK, None, 5 * BLOCK),
        (SIZE - 1, None, SIZE - 1),
    ] {
        match (seek(&file, SparseSeek::Data(from)), data) {
            (Err(rustix::io::Errno::NXIO), None) => {}
            (Ok(found), Some(expected)) if found == expected => {}
            (found, _) => machine::fail!("SEEK_DATA from {from}: {found:?}, due is {data:?}"),
        }
        let found =
            seek(&file, SparseSeek::Hole(from)).context(format!("SEEK_HOLE from {from}"))?;
        require!(found == hole, "SEEK_HOLE from {from}: {found}, due is {hole}");
    }
    for whence in [SparseSeek::Data(SIZE), SparseSeek::Hole(SIZE)] {
        expect_errno(seek(&file, whence), libc::ENXIO, &format!("{whence:?}, at the end"))?;
    }
    Ok(())
}

/// The last byte that `loff_t` can address.
fn the_largest_offset(dir: &Path) -> Result<(), Failure> {
    const LAST: u64 = i64::MAX as u64 - 1;
    let file = file(&dir.join("f"))?;
    file.write_all_at(b"z", LAST).context("a write to the last byte")?;
    require!(file.metadata()?.len() == LAST + 1, "size {}", file.metadata()?.len());
    let mut byte = [0];
    file.read_exact_at(&mut byte, LAST)?;
    require!(byte == *b"z", "the last byte is {byte:?}");
    let found = seek(&file, SparseSeek::Data(0)).context("SEEK_DATA")?;
    require!(found == LAST / BLOCK * BLOCK, "SEEK_DATA finds {found}");
    let beyond = rustix::io::pwrite(&file, b"more than fits", LAST);
    match beyond {
        Ok(1) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::FBIG) => {}
        other => machine::fail!("a write beyond the largest offset: {other:?}"),
    }
    file.set_len(0)?;
    require!(file.metadata()?.blocks() == 0, "an empty file has blocks");
    Ok(())
}
