//! Changes that keep the indexes of a file busy. The kernel may hold the file's lock until they are
//! answered: a process that removes the file waits for that lock, and others wait for that process.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use homes::filesystem::Mapping;
use homes::torture::fuzz::Dice;
use machine::failure::{Failure, WithContext};
use measure::dataset;
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, Searcher, attach};

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
        attach(&file, &slow(DIM)).context("ATTACH")?;
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
    attach(&file, &slow(DIM)).context("ATTACH")?;
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
