//! Indexes belong to inodes: they stay with renamed and linked files, and disappear with the last
//! reference.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Hit, Kind, MAX_INDEXES};

use super::file::{DIM, K, declaration, expect_current, indexed, nearest, small, write_row};
use crate::filesystem::expect::{expect_errno, free_bytes, same};
use crate::filesystem::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    renamed_and_linked_files_keep_their_indexes,
    eight_indexes_stand_on_one_file,
    unlinked_files_are_searched_until_closed,
    replaced_files_take_their_indexes_with_them,
    copies_have_no_index,
];

fn open(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().read(true).write(true).open(path).context(path.display())
}

fn renamed_and_linked_files_keep_their_indexes(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let (path, moved, second) =
        (dir.join("base.f32"), dir.join("sub/moved.f32"), dir.join("second.f32"));
    indexed(dir, &data.base[..DIM * 200])?;
    fs::create_dir(dir.join("sub"))?;
    fs::rename(&path, &moved)?;
    expect_current(&open(&moved)?, 0, true).context("renamed")?;
    fs::hard_link(&moved, &second).context("link")?;
    fs::remove_file(&moved)?;
    let file = open(&second)?;
    expect_current(&file, 0, true).context("linked")?;
    write_row(&file, 5, data.row(600))?;
    expect_current(&file, 0, true).context("written to by its other name")?;
    // A new file with the old name has no index.
    fs::write(&path, "")?;
    expect_errno(stats(&open(&path)?, 0), libc::ENOENT, "a new file of the old name")
}

fn eight_indexes_stand_on_one_file(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 300])?;
    let kinds = Kind::ALL.into_iter().cycle();
    for (index, kind) in (1..MAX_INDEXES).zip(kinds.clone()) {
        let rows = attach(&file, &Declaration { kind, index, ..declaration() });
        require!(rows.context(format!("{kind:?} in slot {index}"))? == 300, "not all rows indexed");
    }
    let beyond = attach(&file, &Declaration { index: MAX_INDEXES, ..declaration() });
    expect_errno(beyond, libc::EINVAL, "a slot beyond the last")?;
    let all_follow = |what: &str| -> Result<(), Failure> {
        expect_current(&file, 0, true).context(what)?;
        (1..MAX_INDEXES).zip(kinds.clone()).try_for_each(|(slot, kind)| {
            expect_current(&file, slot, kind == Kind::Flat).context(format!("{what}, slot {slot}"))
        })
    };
    all_follow("attached")?;
    write_row(&file, 300, data.row(300))?;
    write_row(&file, 20, data.row(400))?;
    all_follow("a row appended and one overwritten")?;
    file.set_len(200 * super::file::ROW as u64 + 9)?;
    all_follow("truncated")?;
    detach(&file, 3).context("DETACH of slot 3")?;
    expect_errno(stats(&file, 3), libc::ENOENT, "a slot that was detached")?;
    for slot in (0..MAX_INDEXES).filter(|&slot| slot != 3) {
        expect_current(&file, slot, false)
            .context(format!("slot {slot}, its neighbour detached"))?;
    }
    attach(&file, &Declaration { index: 3, ..declaration() }).context("ATTACH to the free slot")?;
    expect_current(&file, 3, true)
}

/// Waits until `free` bytes are free in `dir`, because FUSE learns of a last close a little later.
fn wait_for_room(dir: &Path, free: u64) -> Result<(), Failure> {
    wait_for("the memory of a file that is gone", Duration::from_secs(10), || {
        Ok((free_bytes(dir)? == free).then_some(()))
    })
}

fn unlinked_files_are_searched_until_closed(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let free = free_bytes(dir)?;
    let file = indexed(dir, &data.base)?;
    attach(&file, &Declaration { kind: Kind::Hnsw, index: 1, ..declaration() })
        .context("ATTACH")?;
    fs::remove_file(dir.join("base.f32"))?;
    expect_current(&file, 0, true).context("unlinked")?;
    write_row(&file, 699, data.row(3))?;
    expect_current(&file, 0, true).context("unlinked and written to")?;
    let memory = stats(&file, 0)?.memory + stats(&file, 1)?.memory;
    let taken = free.saturating_sub(free_bytes(dir)?);
    require!(taken >= memory, "indexes of {memory} bytes take {taken} bytes of the mount");
    drop(file);
    wait_for_room(dir, free)
}

fn replaced_files_take_their_indexes_with_them(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let plain = dir.join("plain.f32");
    fs::write(&plain, dataset::bytes(&data.base[..DIM * 10]))?;
    let free = free_bytes(dir)?;
    let file = indexed(dir, &data.base)?;
    fs::rename(&plain, dir.join("base.f32"))?;
    expect_errno(stats(&open(&dir.join("base.f32"))?, 0), libc::ENOENT, "the file renamed there")?;
    expect_current(&file, 0, true).context("replaced, and open")?;
    drop(file);
    wait_for_room(dir, free)
}

fn copies_have_no_index(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base)?;
    let copy = dir.join("copy.f32");
    fs::copy(dir.join("base.f32"), &copy)?;
    same(&copy, dataset::bytes(&data.base))?;
    let mut searcher = Searcher::new(DIM as u32, K, 0)?;
    let found = searcher.search(&open(&copy)?, data.row(0)).map(<[Hit]>::len);
    expect_errno(found, libc::ENOENT, "a search of the copy")?;
    attach(&open(&copy)?, &declaration()).context("ATTACH to the copy")?;
    write_row(&open(&copy)?, 0, data.row(1))?;
    require!(nearest(&file, data.row(0), 1)?[0].distance == 0, "a copy's row changed its original");
    expect_current(&open(&copy)?, 0, true)
}
