//! Indexes at the mount's size limit.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, attach, detach, stats};

use super::{DIM, KINDS, ROW, declaration, expect_current, vector_file};
use crate::dataset::{self, Dataset};
use crate::deadline::wait_for;
use crate::failure::{Failure, While};
use crate::filesystem::expect::same;
use crate::filesystem::operation::{Operation, operations};
use crate::{fail, require};

pub(super) const OPERATIONS: &[Operation] = operations![
    indexes_beyond_the_limit_lose_nothing.on("size=8M"),
    rows_beyond_the_limit_lose_nothing.on("size=4M"),
];

/// 2 MiB of rows.
const MANY: usize = (2 << 20) / ROW;

fn is_enospc(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSPC)
}

fn indexes_beyond_the_limit_lose_nothing(dir: &Path) -> Result<(), Failure> {
    let data = Dataset::generate(3, MANY, DIM, 0);
    let file = vector_file(dir, &data.base)?;
    attach(&file, &declaration()).when("ATTACH of what fits")?;
    let intact = || -> Result<(), Failure> {
        same(&dir.join("base.f32"), dataset::bytes(&data.base))?;
        expect_current(&file, 0, true)
    };
    let mut refused = 0;
    for kind in KINDS {
        let mut attached = Vec::new();
        for index in 1..8 {
            let free = statvfs(dir)?.blocks_free();
            match attach(&file, &Declaration { kind, index, ..declaration() }) {
                Ok(_) => attached.push(index),
                Err(error) if is_enospc(&error) => {
                    wait_for("the room of a refused index", Duration::from_secs(10), || {
                        Ok((statvfs(dir)?.blocks_free() == free).then_some(()))
                    })?;
                    intact().when(format!("after {kind:?} was refused"))?;
                    refused += 1;
                    break;
                }
                Err(error) => return Err(error).when(format!("ATTACH {kind:?}")),
            }
        }
        for index in attached {
            expect_current(&file, index, kind == Kind::Flat).when("beside a refused index")?;
            detach(&file, index).when("DETACH")?;
        }
    }
    // LSH and PQ may be small enough for all slots.
    require!(refused >= 3, "{refused} of 5 kinds were refused at the limit of 8 MiB");
    attach(&file, &Declaration { index: 1, ..declaration() }).when("ATTACH to freed room")?;
    intact()
}

/// Appends to an indexed file until nothing fits: whatever was taken is there and indexed.
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
    require!(is_enospc(&refused), "writing at the limit: {refused}");
    require!(written > 1 << 20, "4 MiB are full with {written} bytes of rows");
    same(&dir.join("base.f32"), &bytes[..written])?;
    expect_current(&file, 0, true)?;
    file.set_len(1 << 19)?;
    require!(stats(&file, 0)?.rows == (1 << 19) / ROW as u64, "truncated, and not followed");
    wait_for("freed room that takes rows again", Duration::from_secs(10), || {
        Ok(end.write(&bytes[1 << 19..][..50_000]).is_ok().then_some(()))
    })?;
    expect_current(&file, 0, true)
}
