//! Changes that keep the indexes of a file busy. The kernel may hold the file's lock until they are
//! answered: a process that removes the file waits for that lock, and others wait for that process.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use homes::filesystem::Mapping;
use homes::torture::fuzz::Dice;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use measure::dataset;
use rustix::fs::{FallocateFlags, fallocate};
use vexfs_uapi::client::{Declaration, Searcher, attach};
use vexfs_uapi::{Hit, Kind, most_queries};

use super::attach_the_most;
use crate::adversary::scene::Scene;

/// The kernel sends no more bytes in one request.
const MOST: usize = 1 << 20;
/// Time between the adversary's other threads, so that they queue up one after the other.
const MOMENT: Duration = Duration::from_millis(300);

/// A graph into which each row is as slow to insert as parameters make it.
fn slow(dim: usize) -> Declaration {
    let params = [128, 65_536, 0, 0, 0, 0, 0, 0];
    Declaration { kind: Kind::Hnsw, params, ..Declaration::flat(dim as u32) }
}

fn values(dice: &mut Dice, count: usize) -> Vec<f32> {
    (0..count).map(|_| dice.component()).collect()
}

/// Writes a megabyte of rows to a graph, and meanwhile renames the file, truncates it to zero,
/// extends it and removes it.
pub fn writes_and_removes(scene: &mut Scene) -> Result<(), Failure> {
    const DIM: usize = 16;
    let rows = values(&mut scene.dice, MOST / size_of::<f32>());
    let path = scene.path("written.f32");
    scene.ready();
    for time in 0_u32.. {
        let file = scene.file("written.f32")?;
        attach_the_most(&file, &slow(DIM)).context("ATTACH")?;
        scene.says(format!(
            "write of {MOST} bytes to HNSW (M 128, efConstruction 65536) of rows of {DIM}, and \
             rename, O_TRUNC and unlink of that file, time {time}"
        ));
        let other = scene.path("renamed.f32");
        thread::scope(|scope| {
            // The results do not matter here: what counts is how long the others on the mount wait.
            scope.spawn(|| file.write_all_at(dataset::bytes(&rows), 0));
            thread::sleep(MOMENT);
            scope.spawn(|| fs::rename(&path, &other));
            thread::sleep(MOMENT);
            scope.spawn(|| OpenOptions::new().write(true).truncate(true).open(&other));
            thread::sleep(MOMENT);
            scope.spawn(|| file.set_len(2 * MOST as u64));
            scope.spawn(|| fs::remove_file(&other));
        });
    }
    Ok(())
}

/// Stores a megabyte of a graph's rows through a mapping, unmaps it, and searches.
pub fn unmaps(scene: &mut Scene) -> Result<(), Failure> {
    const DIM: usize = 16;
    let file = scene.file("unmapped.f32")?;
    file.set_len(MOST as u64)?;
    let mapping = Mapping::shared(&file, MOST).context("mmap")?;
    let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
    scene.says("ATTACH over rows of zeros");
    let flat = Declaration { index: 1, ..Declaration::flat(DIM as u32) };
    // Attach while the file is empty: a graph of equal rows takes as long to build as any.
    file.set_len(0)?;
    attach_the_most(&file, &slow(DIM)).context("ATTACH")?;
    attach(&file, &flat).context("ATTACH of Flat")?;
    scene.ready();
    scene.says(format!("truncate to {} rows of {DIM}", MOST / DIM / 4));
    file.set_len(MOST as u64).context("truncate")?;
    mapping.store(0, dataset::bytes(&values(&mut scene.dice, MOST / 4)));
    scene.says(format!("munmap of {} rows of {DIM} that were stored", MOST / DIM / 4));
    drop(mapping);
    scene.says("search behind the munmap");
    let query = values(&mut scene.dice, DIM);
    loop {
        searcher.search(&file, &query).context("SEARCH")?;
    }
}

/// Searches a graph for as long as a search can take, by as many threads as it takes that one is always
/// under way, and meanwhile changes a row of the file, the last one, and the file's names.
pub fn searches_and_removes(scene: &mut Scene) -> Result<(), Failure> {
    const DIM: usize = 1;
    const MOST: u32 = 65_536;
    const THREADS: usize = 4;
    const ROW: u64 = (DIM * size_of::<f32>()) as u64;
    let rows = scene.sized(65_536, 8_192);
    let values: Vec<f32> = (0..rows).map(|row| row as f32).collect();
    let file = scene.file("searched.f32")?;
    let params = [32, 32, 0, 0, 0, 0, 0, 0];
    let graph = Declaration { kind: Kind::Hnsw, params, ..Declaration::flat(DIM as u32) };
    scene.says(format!("ATTACH over {rows} rows of {DIM}"));
    file.write_all_at(dataset::bytes(&values), 0).context("writing rows")?;
    attach(&file, &graph).context("ATTACH")?;
    let (path, other) = (scene.path("searched.f32"), scene.path("renamed.f32"));
    let (length, queries) = (rows as u64 * ROW, most_queries(DIM, 1));
    let search = || -> Result<(), Failure> {
        let file = File::open(&path)?;
        let mut searcher = Searcher::new(DIM as u32, 1, 0)?.with_param(MOST);
        loop {
            let mut wrong = None;
            let answer = |hits: &[Hit]| {
                if !matches!(hits, [hit] if hit.row <= rows as u64) {
                    wrong = Some(hits.to_vec());
                }
            };
            searcher.search_batch(&file, &values[..queries * DIM], answer).context("SEARCH")?;
            require!(wrong.is_none(), "a search found a row that is not there: {wrong:?}");
        }
    };
    let change = &|time: u32| -> Result<(), Failure> {
        match time % 5 {
            0 => file.write_all_at(&1e6_f32.to_le_bytes(), 0).context("write"),
            1 => file.set_len(length + ROW).context("truncate to more"),
            2 => file.set_len(length).context("truncate to less"),
            3 => {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&file, hole, 0, ROW).context("fallocate")
            }
            _ => {
                let mapping = Mapping::shared(&file, 4096).context("mmap")?;
                mapping.store(0, &2e6_f32.to_le_bytes());
                drop(mapping);
                file.sync_all().context("fsync")
            }
        }
    };
    thread::scope(|scope| {
        let searchers: Vec<_> = (0..THREADS).map(|_| scope.spawn(search)).collect();
        scene.ready();
        for time in 0.. {
            thread::sleep(MOMENT);
            scene.says(format!(
                "searches of {queries} queries each in HNSW of {rows} rows of {DIM} with efSearch \
                 {MOST}, a change of that file, and link and unlink of it, time {time}"
            ));
            let changed = scope.spawn(move || change(time));
            thread::sleep(MOMENT);
            fs::hard_link(&path, &other).context("link")?;
            fs::remove_file(&other).context("unlink")?;
            changed.join().unwrap_or_else(|_| fail!("a change panicked"))?;
            if let Some(over) = searchers.iter().position(|one| one.is_finished()) {
                let mut searchers = searchers;
                let over = searchers.remove(over).join();
                return over.unwrap_or_else(|_| fail!("a searcher panicked"));
            }
        }
        Ok(())
    })
}
