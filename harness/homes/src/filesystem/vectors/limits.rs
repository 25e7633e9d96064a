//! Indexes at the mount's size limit.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use measure::dataset::{self, Dataset};
use nix::sys::statvfs::statvfs;
use rustix::fs::{FallocateFlags, fallocate};
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, attach, detach, stats};

use super::file::{DIM, ROW, declaration, expect_current, vector_file};
use crate::filesystem::expect::{expect_errno, same};
use crate::filesystem::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    indexes_beyond_the_limit_lose_nothing.on("size=8M"),
    rows_beyond_the_limit_lose_nothing.on("size=4M"),
    rows_beyond_all_numbers_lose_nothing.on("size=64M"),
];

/// 2 MiB of rows.
const MANY: usize = (2 << 20) / ROW;

fn is_enospc(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSPC)
}

fn indexes_beyond_the_limit_lose_nothing(dir: &Path) -> Result<(), Failure> {
    let data = Dataset::generate(3, MANY, DIM, 0);
    let file = vector_file(dir, &data.base)?;
    attach(&file, &declaration()).context("ATTACH of what fits")?;
    let intact = || -> Result<(), Failure> {
        same(&dir.join("base.f32"), dataset::bytes(&data.base))?;
        expect_current(&file, 0, true)
    };
    let mut refused = 0;
    for kind in Kind::ALL {
        let mut attached = Vec::new();
        for index in 1..8 {
            let free = statvfs(dir)?.blocks_free();
            match attach(&file, &Declaration { kind, index, ..declaration() }) {
                Ok(_) => attached.push(index),
                Err(error) if is_enospc(&error) => {
                    wait_for("the room of a refused index", Duration::from_secs(10), || {
                        Ok((statvfs(dir)?.blocks_free() == free).then_some(()))
                    })?;
                    intact().context(format!("after {kind:?} was refused"))?;
                    refused += 1;
                    break;
                }
                Err(error) => return Err(error).context(format!("ATTACH {kind:?}")),
            }
        }
        for index in attached {
            expect_current(&file, index, kind == Kind::Flat).context("beside a refused index")?;
            detach(&file, index).context("DETACH")?;
        }
    }
    // LSH and PQ may be small enough to fit into all slots.
    require!(
        refused >= 3,
        "{refused} of 5 kinds were refused at the limit of 8 MiB, expected 3 or more"
    );
    attach(&file, &Declaration { index: 1, ..declaration() }).context("ATTACH to freed room")?;
    intact()
}

/// Appends to an indexed file until nothing fits. Every row that was accepted must be in the file
/// and indexed.
fn rows_beyond_the_limit_lose_nothing(dir: &Path) -> Result<(), Failure> {
    let data = Dataset::generate(3, MANY, DIM, 0);
    let bytes = dataset::bytes(&data.base);
    let file = vector_file(dir, &[])?;
    attach(&file, &declaration())?;
    let mut end = OpenOptions::new().append(true).open(dir.join("base.f32"))?;
    let mut written = 0;
    let refused = loop {
        if written == bytes.len() {
            fail!("2 MiB of rows and an index of them fit into 4 MiB");
        }
        match end.write(&bytes[written..bytes.len().min(written + 50_000)]) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    require!(is_enospc(&refused), "writing at the limit: {refused}, expected ENOSPC");
    require!(written > 1 << 20, "4 MiB are full with {written} bytes of rows");
    same(&dir.join("base.f32"), &bytes[..written])?;
    expect_current(&file, 0, true)?;
    file.set_len(1 << 19)?;
    require!(
        stats(&file, 0)?.rows == (1 << 19) / ROW as u64,
        "the index does not follow a truncate"
    );
    wait_for("freed room that takes rows again", Duration::from_secs(10), || {
        Ok(end.write(&bytes[1 << 19..][..50_000]).is_ok().then_some(()))
    })?;
    expect_current(&file, 0, true)
}

/// Truncates to sizes whose number of rows or whose memory overflows integers. No sum may wrap on
/// the way to ENOSPC.
fn rows_beyond_all_numbers_lose_nothing(dir: &Path) -> Result<(), Failure> {
    /// Just below the largest length of a file, and multiples of 2^32 rows of 4 bytes.
    const SIZES: [u64; 4] = [i64::MAX as u64 - 8_192, 1 << 62, 1 << 34, (1 << 34) + 4];
    for (number, dim) in [(0, 1), (1, DIM as u32), (2, 4_080)] {
        let path = dir.join(format!("{number}.f32"));
        let values = vec![1.0; 4_080];
        std::fs::write(&path, dataset::bytes(&values))?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        for (kind, index) in Kind::ALL.into_iter().zip(0..) {
            attach(&file, &Declaration { kind, index, ..Declaration::flat(dim) })
                .context(format!("ATTACH {kind:?}"))?;
        }
        let rows = (values.len() / dim as usize) as u64;
        let lost_nothing = |what: &str| -> Result<(), Failure> {
            same(&path, dataset::bytes(&values)).context(what)?;
            for index in 0..Kind::ALL.len() as u32 {
                let indexed = stats(&file, index).context("STATS")?.rows;
                require!(indexed == rows, "{what}: {indexed} rows are indexed, {rows} are there");
            }
            Ok(())
        };
        for size in SIZES {
            let what = format!("a size of {size} over rows of {dim}");
            expect_errno(file.set_len(size), libc::ENOSPC, &what)?;
            lost_nothing(&what)?;
            let what = format!("a write at {size} over rows of {dim}");
            expect_errno(file.write_at(&[0; 4], size), libc::ENOSPC, &what)?;
            lost_nothing(&what)?;
            let what = format!("an allocation of {size} bytes over rows of {dim}");
            let allocated = fallocate(&file, FallocateFlags::empty(), 0, size);
            expect_errno(allocated, libc::ENOSPC, &what)?;
            lost_nothing(&what)?;
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, 1 << 40, SIZES[1]).context("a hole behind the end")?;
        lost_nothing("a hole behind the end")?;
        for index in 0..Kind::ALL.len() as u32 {
            detach(&file, index).context("DETACH")?;
        }
        // Without an index, a file may be this long.
        file.set_len(SIZES[0]).context("a long file without an index")?;
        for kind in Kind::ALL {
            let attached = attach(&file, &Declaration { kind, ..Declaration::flat(dim) });
            expect_errno(attached, libc::ENOSPC, &format!("ATTACH {kind:?} of a long file"))?;
        }
        std::fs::remove_file(&path)?;
    }
    Ok(())
}
