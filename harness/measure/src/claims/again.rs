//! Repeats a program's work on its own files, to measure how fast that work can be done.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use machine::failure::{Failure, WithContext};
use machine::require;
use rand_mt::Mt;
use vexfs_uapi::Stats;
use vexfs_uapi::client::{self, Searcher};

use super::pace::Pace;

/// How many queries an index is timed with, one by one and in one request.
const TRIES: usize = 50;
/// How many parts rows are stored again in, as many as in our own benchmark. The first rows are
/// stored faster if the index is a graph, and one part takes longer if the index learns from its
/// first rows.
const PARTS: usize = 25;
/// How often rows are stored again to find the fastest time, and the time after which no further
/// repetition begins.
const REPEATS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(2);
/// How many bytes of a large file are stored again, from its beginning. The first rows go into a
/// graph fastest.
const MOST_BYTES: u64 = 64 << 20;

/// How fast the index of `stats`, which must hold rows, answers a query for one neighbour.
///
/// If the program's queries compared fewer rows than ours (a smaller efSearch or nprobe), they are
/// assumed to be faster in proportion.
pub(super) fn search(file: &File, stats: &Stats, index: String) -> Result<Pace, Failure> {
    let dim = stats.dim as usize;
    let mut random = Mt::new(1);
    let queries: Vec<f32> = (0..TRIES * dim)
        .map(|_| (f64::from(random.next_u32()) / f64::from(u32::MAX)) as f32)
        .collect();
    let mut searcher = Searcher::new(stats.dim, 1, stats.index)?;
    let mut shortest = Duration::MAX;
    for query in queries.chunks_exact(dim) {
        let asked = Instant::now();
        searcher.search(file, query).context("searching in the program's file")?;
        shortest = shortest.min(asked.elapsed());
    }
    for _ in 0..3 {
        let asked = Instant::now();
        searcher.search_batch(file, &queries, |_| {}).context("searching in the program's file")?;
        shortest = shortest.min(asked.elapsed() / TRIES as u32);
    }
    let after =
        client::stats(file, stats.index).context("VEXFS_IOC_STATS on the program's file")?;
    let distances = |distances: u64, searches: u64| distances as f64 / searches.max(1) as f64;
    let theirs = distances(stats.distances, stats.searches);
    let ours = distances(after.distances - stats.distances, after.searches - stats.searches);
    let lighter = if stats.searches > 0 && theirs < ours { theirs / ours } else { 1.0 };
    let seconds = shortest.as_secs_f64() * lighter;
    Ok(Pace { index, operations: stats.searches, seconds })
}

/// How fast the rows of `file` can be stored while it has its indexes, whose counters are
/// `indexes`. The file is truncated and written again, both in parts and all at once.
pub(super) fn insertion(file: &File, indexes: &[Stats], name: &str) -> Result<Vec<Pace>, Failure> {
    let row = |stats: &Stats| 4 * stats.dim as usize;
    let Some(first) = indexes.iter().find(|stats| stats.rows > 0) else { return Ok(vec![]) };
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len().min(MOST_BYTES))?];
    file.read_exact_at(&mut bytes, 0).context("reading the program's file")?;
    // Opens the file by its descriptor, because it may have no name any more.
    let mut writer = OpenOptions::new()
        .append(true)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .context("opening the program's file for writing")?;
    let part = (bytes.len() / row(first)).div_ceil(PARTS).max(1) * row(first);
    // A row counts once for every index on the file.
    let rows = |bytes: &[u8]| indexes.iter().map(|one| bytes.len() / row(one)).sum::<usize>();
    let each = |bytes: &[u8], took: Duration| took.as_secs_f64() / rows(bytes).max(1) as f64;

    let mut seconds = vec![f64::MAX; bytes.chunks(part).len()];
    let begun = Instant::now();
    for repeat in 0..REPEATS {
        if repeat > 0 && begun.elapsed() > PATIENCE {
            break;
        }
        writer.set_len(0).context("cutting off the program's file")?;
        let at_once = repeat == 1;
        let size = if at_once { bytes.len() } else { part };
        for (number, rows) in bytes.chunks(size).enumerate() {
            let started = Instant::now();
            writer.write_all(rows).context("storing the rows of the program's file again")?;
            let took = each(rows, started.elapsed());
            let seen = if at_once { &mut seconds[..] } else { &mut seconds[number..=number] };
            seen.iter_mut().for_each(|seconds| *seconds = seconds.min(took));
        }
    }
    for one in indexes {
        let (given, held) = (bytes.len() / row(one), client::stats(file, one.index)?.rows);
        require!(
            held == given as u64,
            "{given} rows were stored in {name} again, and slot {} counts {held}",
            one.index
        );
    }
    // Rows beyond the part that is stored again are assumed to be as fast.
    let counted: u64 = indexes.iter().map(|stats| stats.rows).sum();
    let share = counted as f64 / rows(&bytes).max(1) as f64;
    let paces = bytes.chunks(part).zip(seconds).map(|(part, seconds)| Pace {
        index: name.to_owned(),
        operations: (rows(part) as f64 * share).ceil() as u64,
        seconds,
    });
    Ok(paces.collect())
}
