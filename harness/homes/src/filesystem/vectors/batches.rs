//! A search of many queries takes as long as its caller likes, and he may be somebody who can only
//! read the file. Changes of the file must go on in between its queries.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use vexfs_uapi::client::{Declaration, Searcher, attach, detach};
use vexfs_uapi::most_queries;

use super::file::vector_file;
use crate::filesystem::operation::{Effort, Operation, operations};
use crate::filesystem::threads::beside;

pub(super) const OPERATIONS: &[Operation] =
    operations![changes_go_on_between_the_queries_of_a_search.effort(Effort::Long)];

/// The number of rows, of one component each, is doubled from here until a search is long.
const LEAST: usize = 1 << 15;
const MOST: usize = 1 << 23;
/// So long a search is, by far longer than it keeps changes waiting.
const LONG: Duration = Duration::from_secs(2);
/// The slot that is searched, and one that is attached and detached meanwhile.
const SEARCHED: u32 = 0;
const OTHER: u32 = 1;
/// Components of that one's rows.
const LONGER: u32 = 4_080;

/// The longest wait for a change of each kind.
type Waits = [(&'static str, Duration); 3];

/// One request with as many queries as there may be in one. Each is a row of the file, and must be
/// found.
fn search(file: &File) -> Result<Duration, Failure> {
    let queries: Vec<f32> = (0..most_queries(1, 1)).map(|row| row as f32).collect();
    let mut searcher = Searcher::new(1, 1, SEARCHED)?;
    let (mut query, mut wrong) = (0, None);
    let since = Instant::now();
    searcher
        .search_batch(file, &queries, |hits| {
            if !matches!(hits, [hit] if hit.row == query && hit.distance == 0) {
                wrong.get_or_insert_with(|| format!("row {query} is not found: {hits:?}"));
            }
            query += 1;
        })
        .context("SEARCH")?;
    let took = since.elapsed();
    wrong.map_or(Ok(took), |wrong| Err(Failure::new(wrong)))
}

/// Makes a file so large that a search of it takes long.
fn large(dir: &Path) -> Result<File, Failure> {
    let values = |from: usize, to: usize| (from..to).map(|row| row as f32).collect::<Vec<f32>>();
    let file = vector_file(dir, &values(0, LEAST))?;
    attach(&file, &Declaration { index: SEARCHED, ..Declaration::flat(1) }).context("ATTACH")?;
    let mut rows = LEAST;
    while search(&file)? < LONG && rows < MOST {
        let more = values(rows, 2 * rows);
        file.write_all_at(dataset::bytes(&more), (rows * size_of::<f32>()) as u64)
            .context("adding rows")?;
        rows *= 2;
    }
    Ok(file)
}

/// Changes the file again and again as long as it is `busy`.
fn change(file: &File, busy: &AtomicBool) -> Result<Waits, Failure> {
    let other = Declaration { index: OTHER, ..Declaration::flat(LONGER) };
    let mut waits = ["ATTACH", "a write", "DETACH"].map(|what| (what, Duration::ZERO));
    let mut at = 0;
    while busy.load(Ordering::SeqCst) {
        let since = Instant::now();
        let done = match at {
            0 => attach(file, &other).map(drop),
            // The row stays as it is, and so do the answers.
            1 => file.write_all_at(&7f32.to_ne_bytes(), 7 * size_of::<f32>() as u64),
            _ => detach(file, OTHER),
        };
        let (what, longest) = &mut waits[at];
        done.context(*what)?;
        *longest = since.elapsed().max(*longest);
        at = (at + 1) % waits.len();
    }
    Ok(waits)
}

fn changes_go_on_between_the_queries_of_a_search(dir: &Path) -> Result<(), Failure> {
    let file = large(dir)?;
    let (took, waits) = beside(|| search(&file), |busy| change(&file, busy))?;
    for (what, wait) in waits {
        require!(
            wait < took / 2,
            "{what} waited {wait:.1?} beside a single search that took {took:.1?}: whoever may read a \
             file holds up its changes as long as he likes"
        );
    }
    Ok(())
}
