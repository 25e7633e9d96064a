//! fallocate(2): room that is allocated before it is written to, and holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use measure::dataset;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};
use vexfs_uapi::client::{Declaration, attach, stats};

use super::asked::{
    ALLOCATED_IS_DATA, ALLOCATES, ALLOCATES_ALL_OR_NOTHING, Asked, HOLES, OTHER_ALLOCATIONS,
    PUNCHES,
};
use super::contract::{ByContract, Lacking, contract_requires, require_asked};
use super::expect::{expect_errno, free_bytes};
use super::operation::{Operation, operations};
use super::sparse::{finds_data, finds_hole};
use super::vectors::nearest;

pub(super) const OPERATIONS: &[Operation] = operations![
    allocated_room_is_taken,
    allocation_beyond_the_mount.on("size=64M"),
    punched_holes_are_zero_and_free,
    indexes_follow_fallocate,
    other_allocations_are_refused,
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

/// Checks that there is fallocate(2). A file system without it may be healthy. The file that it makes
/// stays: if it went, its room might become free while the operation looks what is free.
pub(super) fn allocates(dir: &Path) -> Result<(), Failure> {
    let file = File::create(dir.join("allocates"))?;
    change(&file, FallocateFlags::empty(), 0, PAGE).context("fallocate").by_contract(ALLOCATES)
}

fn has_size(file: &File, due: u64, when: &str) -> Result<(), Failure> {
    let size = file.metadata()?.len();
    require!(size == due, "{when}, it has {size} bytes, expected {due}");
    Ok(())
}

/// Checks how many bytes the file occupies, which only the contract requires to be exact.
fn takes(file: &File, due: u64, when: &str, asked: Asked) -> Result<(), Failure> {
    let taken = file.metadata()?.blocks().saturating_mul(512);
    contract_requires!(asked, taken == due, "{when}, it takes {taken} bytes, expected {due}");
    Ok(())
}

fn allocated_room_is_taken(dir: &Path) -> Result<(), Failure> {
    allocates(dir)?;
    let file = new_file(dir)?;
    file.write_all_at(b"kept", 2 * PAGE)?;
    change(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 10 * PAGE)
        .context("KEEP_SIZE")
        .by_contract(ALLOCATES)?;
    let mut lacking = Lacking::default();
    has_size(&file, 2 * PAGE + 4, "allocated with KEEP_SIZE")?;
    lacking.note(takes(&file, 10 * PAGE, "allocated with KEEP_SIZE", ALLOCATED_IS_DATA))?;
    change(&file, FallocateFlags::empty(), PAGE, 5 * PAGE + 1).context("fallocate")?;
    has_size(&file, 6 * PAGE + 1, "allocated")?;
    lacking.note(takes(&file, 10 * PAGE, "allocated", ALLOCATED_IS_DATA))?;
    let mut expected = vec![0; 6 * PAGE as usize + 1];
    expected[2 * PAGE as usize..][..4].copy_from_slice(b"kept");
    require!(uncached::read(dir.join("f"))? == expected, "allocated room is not zero");
    let hole = lseek(&file, 0, Whence::SeekHole).context("SEEK_HOLE").by_contract(HOLES);
    lacking.note(hole.and_then(|hole| {
        let none = hole == (6 * PAGE + 1).cast_signed();
        require_asked(ALLOCATED_IS_DATA, none, format!("allocated room has a hole at {hole}"))
    }))?;
    file.set_len(PAGE)?;
    has_size(&file, PAGE, "cut off")?;
    lacking.note(takes(&file, PAGE, "cut off", ALLOCATED_IS_DATA))?;
    lacking.told()
}

fn allocation_beyond_the_mount(dir: &Path) -> Result<(), Failure> {
    allocates(dir)?;
    let file = new_file(dir)?;
    let before = free_bytes(dir)?;
    for length in [before + PAGE, 1 << 62] {
        let refused = change(&file, FallocateFlags::empty(), 0, length);
        expect_errno(refused, libc::ENOSPC, &format!("{length} bytes where {before} are free"))
            .by_contract(ALLOCATES_ALL_OR_NOTHING)?;
    }
    has_size(&file, 0, "after refused allocations").by_contract(ALLOCATES_ALL_OR_NOTHING)?;
    takes(&file, 0, "after refused allocations", ALLOCATES_ALL_OR_NOTHING)?;
    contract_requires!(
        ALLOCATES_ALL_OR_NOTHING,
        free_bytes(dir)? == before,
        "a refused allocation takes room"
    );
    Ok(())
}

fn punched_holes_are_zero_and_free(dir: &Path) -> Result<(), Failure> {
    let file = new_file(dir)?;
    let mut bytes = vec![7; 8 * PAGE as usize + 100];
    file.write_all_at(&bytes, 0)?;
    // A hole within a page; one over whole pages and parts of others; one that reaches beyond the
    // end.
    for (from, to) in [(10, 20), (PAGE + 1, 5 * PAGE + 7), (8 * PAGE + 50, 20 * PAGE)] {
        let punched = change(&file, PUNCH, from, to - from).context(format!("hole {from}..{to}"));
        punched.by_contract(PUNCHES)?;
        let to = bytes.len().min(to as usize);
        bytes[from as usize..to].fill(0);
        require!(
            uncached::read(dir.join("f"))? == bytes,
            "the file is wrong after hole {from}..{to}"
        );
    }
    let mut lacking = Lacking::default();
    lacking.note(takes(&file, 6 * PAGE, "with holes", PUNCHES))?;
    lacking.note(finds_data(&file, 2 * PAGE, Some(5 * PAGE)))?;
    lacking.note(finds_hole(&file, 0, 2 * PAGE))?;
    change(&file, PUNCH, 0, 1 << 62).context("all of it").by_contract(PUNCHES)?;
    bytes.fill(0);
    require!(
        uncached::read(dir.join("f"))? == bytes,
        "the file is wrong after a hole over all of it"
    );
    lacking.note(takes(&file, 0, "all punched", PUNCHES))?;
    lacking.note(finds_data(&file, 0, None))?;
    lacking.told()
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
    require!(
        found == [(50, 0), (51, 0), (52, 0)],
        "rows nearest to zeros: {found:?}, expected rows 50 to 52 at distance 0"
    );
    let mut half = [0.0; DIM];
    half[..DIM / 2].fill(50.0);
    let hits = nearest(&file, &half, 1)?;
    require!(
        (hits[0].row, hits[0].distance) == (49, 0),
        "nearest to the half-punched row: {hits:?}, expected row 49 at distance 0"
    );
    change(&file, FallocateFlags::empty(), 0, 200 * ROW + 5).context("fallocate")?;
    require!(
        stats(&file, 0)?.rows == 200,
        "{} rows are indexed, expected 200",
        stats(&file, 0)?.rows
    );
    Ok(())
}

fn other_allocations_are_refused(dir: &Path) -> Result<(), Failure> {
    let file = new_file(dir)?;
    let bytes = [7; 3 * PAGE as usize];
    file.write_all_at(&bytes, 0)?;
    let refuses = |mode: FallocateFlags| {
        let refused = change(&file, mode, 0, PAGE);
        expect_errno(refused, libc::EOPNOTSUPP, &format!("fallocate {mode:?}"))
    };
    let unchanged = || -> Result<(), Failure> {
        let read = uncached::read(dir.join("f"))?;
        require!(read == bytes, "a refused fallocate has changed the file");
        Ok(())
    };
    // All file systems refuse these, because the kernel does.
    for mode in [FallocateFlags::FALLOC_FL_PUNCH_HOLE, FallocateFlags::from_bits_retain(1 << 20)] {
        refuses(mode)?;
    }
    for (offset, length, errno) in
        [(0, 0, libc::EINVAL), (i64::MAX as u64, 1, libc::EFBIG), (u64::MAX, 1, libc::EINVAL)]
    {
        let refused = change(&file, FallocateFlags::empty(), offset, length);
        expect_errno(refused, errno, &format!("fallocate {offset}, {length}"))?;
    }
    let read_only = File::open(dir.join("f"))?;
    let refused = change(&read_only, FallocateFlags::empty(), 0, PAGE);
    expect_errno(refused, libc::EBADF, "fallocate of a file open for reading")?;
    unchanged()?;
    for mode in [
        FallocateFlags::FALLOC_FL_COLLAPSE_RANGE,
        FallocateFlags::FALLOC_FL_ZERO_RANGE,
        FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
        FallocateFlags::FALLOC_FL_INSERT_RANGE,
    ] {
        refuses(mode).by_contract(OTHER_ALLOCATIONS)?;
    }
    unchanged()?;
    takes(&file, 3 * PAGE, "refused", OTHER_ALLOCATIONS)
}
