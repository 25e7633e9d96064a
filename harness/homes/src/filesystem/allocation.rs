//! fallocate(2): room that is allocated before it is written to, and holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use measure::dataset;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};
use vexfs_uapi::client::{Declaration, attach, stats};

use super::expect::expect_errno;
use super::operation::{Operation, operations};
use super::vectors::nearest;

pub(super) const OPERATIONS: &[Operation] = operations![
    allocated_room_is_taken.by_contract("SEEK_HOLE finds no hole in allocated room"),
    allocation_beyond_the_mount.on("size=64M").by_contract(
        "an allocation for which there is no room is ENOSPC, however large, and takes nothing"
    ),
    punched_holes_are_zero_and_free
        .by_contract("a hole of any length can be punched, and is free to the page"),
    indexes_follow_fallocate,
    other_allocations_are_refused.by_contract("other modes of fallocate(2) are EOPNOTSUPP"),
];

const PAGE: u64 = 4096;
const PUNCH: FallocateFlags =
    FallocateFlags::FALLOC_FL_PUNCH_HOLE.union(FallocateFlags::FALLOC_FL_KEEP_SIZE);

fn new_file(dir: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    Ok(options.read(true).write(true).create_new(true).open(dir.join("f"))?)
}

fn change(file: &File, mode: FallocateFlags, offset: u64, length: u64) -> io::Result<()> {
    Ok(fallocate(file, mode, offset.cast_signed(), length.cast_signed())?)
}

/// The file's size, and the bytes that it occupies.
fn extent(file: &File) -> Result<(u64, u64), Failure> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.blocks() * 512))
}

fn allocated_room_is_taken(dir: &Path) -> Result<(), Failure> {
    let file = new_file(dir)?;
    file.write_all_at(b"kept", 2 * PAGE)?;
    change(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 10 * PAGE).context("KEEP_SIZE")?;
    let taken = extent(&file)?;
    require!(taken == (2 * PAGE + 4, 10 * PAGE), "KEEP_SIZE made it {taken:?}");
    change(&file, FallocateFlags::empty(), PAGE, 5 * PAGE + 1).context("fallocate")?;
    let taken = extent(&file)?;
    require!(taken == (6 * PAGE + 1, 10 * PAGE), "an allocation made it {taken:?}");
    let mut expected = vec![0; 6 * PAGE as usize + 1];
    expected[2 * PAGE as usize..][..4].copy_from_slice(b"kept");
    require!(uncached::read(dir.join("f"))? == expected, "allocated room is not zero");
    let hole = lseek(&file, 0, Whence::SeekHole)?;
    require!(hole == (6 * PAGE + 1).cast_signed(), "allocated room has a hole at {hole}");
    file.set_len(PAGE)?;
    let taken = extent(&file)?;
    require!(taken == (PAGE, PAGE), "cut off, it is {taken:?}");
    Ok(())
}

fn allocation_beyond_the_mount(dir: &Path) -> Result<(), Failure> {
    let file = new_file(dir)?;
    let free = || -> Result<u64, Failure> { Ok(nix::sys::statvfs::statvfs(dir)?.blocks_free()) };
    let before = free()?;
    for length in [(before + 1) * PAGE, 1 << 62] {
        let refused = change(&file, FallocateFlags::empty(), 0, length);
        expect_errno(refused, libc::ENOSPC, &format!("{length} bytes where {before} pages are"))?;
    }
    require!(extent(&file)? == (0, 0), "a refused allocation left {:?}", extent(&file)?);
    require!(free()? == before, "a refused allocation takes room");
    Ok(())
}

fn punched_holes_are_zero_and_free(dir: &Path) -> Result<(), Failure> {
    let file = new_file(dir)?;
    let mut bytes = vec![7; 8 * PAGE as usize + 100];
    file.write_all_at(&bytes, 0)?;
    // A hole within a page; one over whole pages and parts of others; one that reaches beyond the
    // end.
    for (from, to) in [(10, 20), (PAGE + 1, 5 * PAGE + 7), (8 * PAGE + 50, 20 * PAGE)] {
        change(&file, PUNCH, from, to - from).context(format!("hole {from}..{to}"))?;
        let to = bytes.len().min(to as usize);
        bytes[from as usize..to].fill(0);
        require!(
            uncached::read(dir.join("f"))? == bytes,
            "the file is wrong after hole {from}..{to}"
        );
    }
    let taken = extent(&file)?;
    require!(taken == (8 * PAGE + 100, 6 * PAGE), "with holes it is {taken:?}");
    let data = lseek(&file, (2 * PAGE).cast_signed(), Whence::SeekData)?;
    require!(data == (5 * PAGE).cast_signed(), "SEEK_DATA finds {data}");
    let hole = lseek(&file, 0, Whence::SeekHole)?;
    require!(hole == (2 * PAGE).cast_signed(), "SEEK_HOLE finds {hole}");
    change(&file, PUNCH, 0, 1 << 62).context("all of it")?;
    require!(extent(&file)? == (8 * PAGE + 100, 0), "all punched, {:?}", extent(&file)?);
    let none = lseek(&file, 0, Whence::SeekData);
    require!(none == Err(Errno::ENXIO), "SEEK_DATA in a hole: {none:?}");
    Ok(())
}

fn indexes_follow_fallocate(dir: &Path) -> Result<(), Failure> {
    const DIM: usize = 24;
    const ROW: u64 = (DIM * size_of::<f32>()) as u64;
    let file = new_file(dir)?;
    let rows: Vec<f32> = (0..100 * DIM).map(|value| 1.0 + (value / DIM) as f32).collect();
    file.write_all_at(dataset::bytes(&rows), 0)?;
    attach(&file, &Declaration::flat(DIM as u32)).context("ATTACH")?;
    // Rows 50 to 52 entirely, and half of row 49.
    change(&file, PUNCH, 49 * ROW + ROW / 2, 3 * ROW + ROW / 2).context("hole")?;
    let hits = nearest(&file, &[0.0; DIM], 3)?;
    let found: Vec<(u64, u32)> = hits.iter().map(|hit| (hit.row, hit.distance)).collect();
    require!(found == [(50, 0), (51, 0), (52, 0)], "zeros nearest to zeros: {found:?}");
    let mut half = [0.0; DIM];
    half[..DIM / 2].fill(50.0);
    let hits = nearest(&file, &half, 1)?;
    require!((hits[0].row, hits[0].distance) == (49, 0), "half a row: {hits:?}");
    change(&file, FallocateFlags::empty(), 0, 200 * ROW + 5).context("fallocate")?;
    require!(stats(&file, 0)?.rows == 200, "{} rows of 200", stats(&file, 0)?.rows);
    Ok(())
}

fn other_allocations_are_refused(dir: &Path) -> Result<(), Failure> {
    let file = new_file(dir)?;
    file.write_all_at(&[7; 3 * PAGE as usize], 0)?;
    for mode in [
        FallocateFlags::FALLOC_FL_PUNCH_HOLE,
        FallocateFlags::FALLOC_FL_COLLAPSE_RANGE,
        FallocateFlags::FALLOC_FL_ZERO_RANGE,
        FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
        FallocateFlags::FALLOC_FL_INSERT_RANGE,
        FallocateFlags::from_bits_retain(1 << 20),
    ] {
        let refused = change(&file, mode, 0, PAGE);
        expect_errno(refused, libc::EOPNOTSUPP, &format!("fallocate {mode:?}"))?;
    }
    for (offset, length, errno) in
        [(0, 0, libc::EINVAL), (i64::MAX as u64, 1, libc::EFBIG), (u64::MAX, 1, libc::EINVAL)]
    {
        let refused = change(&file, FallocateFlags::empty(), offset, length);
        expect_errno(refused, errno, &format!("fallocate {offset}, {length}"))?;
    }
    require!(extent(&file)? == (3 * PAGE, 3 * PAGE), "refused, it is {:?}", extent(&file)?);
    let read_only = File::open(dir.join("f"))?;
    let refused = change(&read_only, FallocateFlags::empty(), 0, PAGE);
    expect_errno(refused, libc::EBADF, "fallocate of a file open for reading")
}
