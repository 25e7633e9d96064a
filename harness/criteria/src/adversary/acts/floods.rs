//! Floods: too many names, pages and searches, each of them small.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::thread;

use homes::filesystem::Mapping;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use measure::dataset;
use rustix::fs::{XattrFlags, fsetxattr};
use vexfs_uapi::client::{Declaration, Searcher, attach};
use vexfs_uapi::{Hit, Kind, most_queries};

use super::attach_the_most;
use crate::adversary::scene::Scene;

/// Makes symbolic links, and then extended attributes, until the mount is full. The home must count
/// the bytes that it keeps for them, or the mount would never be full.
pub fn names(scene: &mut Scene) -> Result<(), Failure> {
    /// The longest target that symlink(2) takes.
    const TARGET: usize = 4_095;
    /// The largest value that setxattr(2) takes.
    const VALUE: usize = 65_536;
    scene.ready();
    let size = scene.order.size;
    let target = "t".repeat(TARGET);
    let links = scene.path("links");
    fs::create_dir(&links)?;
    let kept = until_full(2 * size, TARGET as u64, |number| {
        if number % 512 == 0 {
            scene.says(format!("symlink with a target of {TARGET} bytes, number {number}"));
        }
        symlink(&target, links.join(format!("{number}")))
    });
    counted(kept, size, &format!("symbolic links with targets of {TARGET} bytes"))?;
    fs::remove_dir_all(&links).context("removing the links")?;

    let attributed = scene.path("attributed");
    fs::create_dir(&attributed)?;
    let value = vec![7; VALUE];
    let kept = until_full(4 * size, VALUE as u64, |number| {
        scene.says(format!("an extended attribute of {VALUE} bytes, number {number}"));
        let file = File::create(attributed.join(format!("{number}")))?;
        Ok(fsetxattr(&file, "user.value", &value, XattrFlags::CREATE)?)
    });
    counted(kept, size, &format!("extended attributes of {VALUE} bytes"))?;
    fs::remove_dir_all(&attributed).context("removing the attributes")
}

/// Calls `make` until the mount is full, and returns how many bytes it kept by then, at `each`
/// bytes a call. `None` if `most` bytes did not fill it.
fn until_full(
    most: u64,
    each: u64,
    mut make: impl FnMut(u64) -> io::Result<()>,
) -> Result<Option<u64>, Failure> {
    for number in 0..most / each {
        match make(number) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                return Ok(Some(number * each));
            }
            Err(error) => return Err(error).context(format!("number {number}")),
        }
    }
    Ok(None)
}

fn counted(kept: Result<Option<u64>, Failure>, size: u64, what: &str) -> Result<(), Failure> {
    match kept.context(what)? {
        Some(kept) => {
            require!(
                kept <= size + size / 8,
                "a mount of {size} bytes is full only with {kept} bytes of {what}"
            );
            Ok(())
        }
        None => fail!("a mount of {size} bytes is not full with twice as much of {what}"),
    }
}

/// Renames each name as it is read, while reading on.
pub fn renames(scene: &mut Scene) -> Result<(), Failure> {
    const NAMES: usize = 300;
    scene.ready();
    let dir = scene.path("renamed");
    fs::create_dir(&dir)?;
    for number in 0..NAMES {
        File::create(dir.join(format!("name-{number}")))?;
    }
    scene.says(format!("renaming each of {NAMES} names while reading their directory"));
    let mut read = 0;
    for (number, entry) in fs::read_dir(&dir)?.enumerate() {
        let entry = entry.context("readdir")?;
        fs::rename(entry.path(), dir.join(format!("renamed-{number}"))).context("rename")?;
        read += 1;
        require!(
            read <= 4 * NAMES,
            "a directory of {NAMES} names has no end while its entries are renamed: {read} were read"
        );
    }
    let left: BTreeSet<_> = fs::read_dir(&dir)?.flatten().map(|entry| entry.file_name()).collect();
    require!(left.len() == NAMES, "{} of {NAMES} names are left after renaming them", left.len());
    fs::remove_dir_all(&dir).context("removing the names")
}

/// Stores into every other page of a file with indexes and unmaps it, again and again, while
/// another index of the file is built.
pub fn pages(scene: &mut Scene) -> Result<(), Failure> {
    const PAGE: usize = 4096;
    let length = scene.sized(16 << 20, 4 << 20);
    let file = scene.file("pages.f32")?;
    file.set_len(length as u64)?;
    let (flat, rows) = (Declaration::flat(16), length / 64);
    attach(&file, &flat).context("ATTACH of Flat")?;
    scene.says(format!("ATTACH of HNSW (M 128, efConstruction 20000) over {rows} rows of 16"));
    let params = [128, 20_000, 0, 0, 0, 0, 0, 0];
    let slow = Declaration { kind: Kind::Hnsw, index: 1, params, ..flat };
    thread::scope(|scope| {
        scope.spawn(|| attach_the_most(&file, &slow));
        scene.ready();
        for round in 0_u32.. {
            scene.says(format!("munmap of {} changed pages, time {round}", length / PAGE / 2));
            let mapping = Mapping::shared(&file, length).context("mmap")?;
            for page in (0..length / PAGE).step_by(2) {
                mapping.store(page * PAGE, &((round + 1) as f32).to_le_bytes());
            }
            drop(mapping);
        }
        Ok(())
    })
}

/// Searches without pause in many threads, through read-only descriptors, each time with as many
/// queries as a request carries.
pub fn searches(scene: &mut Scene) -> Result<(), Failure> {
    const THREADS: usize = 12;
    const DIM: usize = 4;
    let rows = scene.sized(1_000_000, 20_000);
    let mut values = vec![0_f32; rows * DIM];
    // All rows differ, and each is far from the next.
    for (row, values) in values.chunks_exact_mut(DIM).enumerate() {
        values[0] = (row % 1_000) as f32;
        values[1] = (row / 1_000) as f32;
    }
    let file = scene.file("searched.f32")?;
    file.write_all_at(dataset::bytes(&values), 0).context("writing rows")?;
    attach(&file, &Declaration::flat(DIM as u32)).context("ATTACH")?;
    let queries = most_queries(DIM, 1);
    scene.says(format!("{THREADS} threads search {rows} rows of {DIM} for {queries} queries each"));
    scene.ready();
    let (path, values) = (scene.path("searched.f32"), &values[..queries * DIM]);
    let search = || -> Result<(), Failure> {
        let file = File::open(&path)?;
        let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
        loop {
            let (mut row, mut wrong) = (0, None);
            let answer = |hits: &[Hit]| {
                if !matches!(hits, [hit] if hit.row == row && hit.distance == 0) {
                    wrong = Some((row, hits.to_vec()));
                }
                row += 1;
            };
            searcher.search_batch(&file, values, answer).context("SEARCH")?;
            require!(wrong.is_none(), "a search for a row did not find it: {wrong:?}");
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(search)).collect();
        for one in threads {
            one.join().unwrap_or_else(|_| fail!("a searcher panicked"))?;
        }
        Ok(())
    })
}
