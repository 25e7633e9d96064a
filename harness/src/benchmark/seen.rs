//! What the home under test counted while a program ran.

use std::fs::File;
use std::time::{Duration, Instant};

use rand_mt::Mt;
use serde::Serialize;
use vexfs_uapi::client::{self, Searcher};
use vexfs_uapi::{Home, Stats};

use super::watch::Made;
use crate::failure::{Failure, While};
use crate::require;

/// Slots of a file's indexes.
const SLOTS: u32 = 8;
/// Queries with which an index shows how fast it can be, singly and in one request.
const TRIES: usize = 50;

/// Counters of the program's files, and how fast their indexes can be.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Seen {
    /// Vector files with an index.
    pub files: usize,
    /// Rows that they hold, each once for every index on them.
    pub rows: u64,
    /// Queries answered.
    pub searches: u64,
    /// The shortest time that a query took us, on the index that was fastest.
    pub fastest_search: Option<Duration>,
    /// Files that were gone before they could be looked at.
    pub missed: Vec<String>,
}

impl Seen {
    /// Asks each file for the counters of its indexes, which must be `home`'s.
    ///
    /// # Errors
    /// Another home answers, or a file system that does not know the request.
    pub fn of(made: &Made, home: Home) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        for file in &made.files {
            let mut indexed = false;
            for slot in 0..SLOTS {
                let stats = match client::stats(file, slot) {
                    Ok(stats) => stats,
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                    Err(error) => return Err(error).when("VEXFS_IOC_STATS on the program's file"),
                };
                require!(
                    stats.home == home as u32,
                    "home {} served it, which was to be {home:?}",
                    stats.home
                );
                indexed = true;
                seen.rows += stats.rows;
                seen.searches += stats.searches;
                let fastest = fastest(file, slot, &stats)?;
                seen.fastest_search = seen.fastest_search.into_iter().chain(fastest).min();
            }
            seen.files += usize::from(indexed);
        }
        seen.missed = made.missed.iter().map(|path| path.display().to_string()).collect();
        Ok(seen)
    }
}

/// The shortest time of a query in slot `slot`; `None` where there is nothing to find.
fn fastest(file: &File, slot: u32, stats: &Stats) -> Result<Option<Duration>, Failure> {
    if stats.rows == 0 {
        return Ok(None);
    }
    let dim = stats.dim as usize;
    let mut random = Mt::new(1);
    let queries: Vec<f32> = (0..TRIES * dim)
        .map(|_| (f64::from(random.next_u32()) / f64::from(u32::MAX)) as f32)
        .collect();
    let mut searcher = Searcher::new(stats.dim, 1, slot)?;
    let mut shortest = Duration::MAX;
    for query in queries.chunks_exact(dim) {
        let asked = Instant::now();
        searcher.search(file, query).when("searching in the program's file")?;
        shortest = shortest.min(asked.elapsed());
    }
    for _ in 0..3 {
        let asked = Instant::now();
        searcher.search_batch(file, &queries, |_| {}).when("searching in the program's file")?;
        shortest = shortest.min(asked.elapsed() / TRIES as u32);
    }
    Ok(Some(shortest))
}
