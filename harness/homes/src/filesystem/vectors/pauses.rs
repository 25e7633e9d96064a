//! While one process changes many rows, searches of the same file must be answered in between, and
//! not only when the whole change is done. STATS before and after each search shows how far the
//! change had come.
//!
//! How many searches are answered depends on how busy the machine is. As a control, another file,
//! which nobody changes, is searched at the same time. Only if that file got many answers and the
//! changed one few did the searches wait for the change.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset::{self, Dataset};
use measure::oracle::Oracle;
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

use super::file::{DIM, K, ROW, declaration, vector_file};
use crate::filesystem::mapped::Mapping;
use crate::filesystem::operation::{Effort, Operation, operations};
use crate::filesystem::threads::beside;

pub(super) const OPERATIONS: &[Operation] = operations![
    searches_wait_for_a_piece_of_a_change.effort(Effort::Long),
    searches_go_on_beside_a_training.effort(Effort::Long),
    searches_wait_for_no_mapping_that_stored_nothing.effort(Effort::Long),
];

/// How many searches must be answered in the midst of a change (or of a training, which is a single
/// step of one) by the time that the given number of searches of another file have been answered.
/// The latter wait for nothing and take some 20 µs; on two processors, one of which changes the file,
/// the former may wait ten milliseconds each for their turn.
const LEAST: usize = 5;
const OF_ANOTHER_FILE: usize = 10_000 * LEAST;
/// How often the change is repeated until one of the two numbers is reached.
const TIMES: usize = 100;
/// The largest number of a graph's rows in one step. It divides the number of finished rows
/// whenever somebody looks.
const ROWS_OF_A_PIECE: u64 = 8;

/// An action on the file before each search of it.
type Ahead = fn(&File) -> Result<(), Failure>;

fn nothing(_: &File) -> Result<(), Failure> {
    Ok(())
}

/// How many rows were indexed before a search and after it.
#[derive(Clone, Copy)]
struct Around {
    before: u64,
    after: u64,
}

/// Writes the rows of `data` from `first` on with a single write(2), which takes a while, and
/// meanwhile searches slot 0, calling `ahead` before each search. The answers are checked: they
/// must name existing rows at their distances. Also returns how many searches of `other` were
/// answered.
fn search_while_writing(
    file: &File,
    other: &File,
    data: &Dataset,
    first: usize,
    ahead: Ahead,
) -> Result<(Vec<Around>, usize), Failure> {
    let rows = &data.base[first * DIM..];
    let write =
        || file.write_all_at(dataset::bytes(rows), (first * ROW) as u64).context("writing rows");
    let query = &data.queries[..DIM];
    let oracle = Oracle::new(data, query, K as usize);
    let search = |busy: &AtomicBool| {
        let mut searcher = Searcher::new(DIM as u32, K, 0)?;
        let mut searches = Vec::new();
        while busy.load(Ordering::SeqCst) {
            let before = stats(file, 0).context("STATS")?.rows;
            ahead(file)?;
            let hits = searcher.search(file, query).context("SEARCH")?.to_vec();
            let after = stats(file, 0).context("STATS")?.rows;
            let ids: Vec<u64> = hits.iter().map(|hit| hit.row).collect();
            let distances: Vec<f32> = hits.iter().map(|hit| f32::from_bits(hit.distance)).collect();
            require!(ids.iter().all(|&row| row < after), "a row that does not exist: {hits:?}");
            require!(
                hits.len() == K as usize,
                "{} hits among {before} rows, expected {K}",
                hits.len()
            );
            oracle.check_distances(0, &ids, &distances)?;
            searches.push(Around { before, after });
        }
        Ok(searches)
    };
    let is_over = AtomicBool::new(false);
    let search_other = || {
        let mut searcher = Searcher::new(DIM as u32, K, 0)?;
        let mut answered = 0;
        while !is_over.load(Ordering::SeqCst) {
            searcher.search(other, query).context("SEARCH of another file")?;
            answered += 1;
        }
        Ok(answered)
    };
    let (answered, searches) = beside(search_other, |_| {
        let searched = beside(write, search);
        is_over.store(true, Ordering::SeqCst);
        searched.map(|((), searches)| searches)
    })?;
    let indexed = stats(file, 0).context("STATS")?.rows;
    let due = data.base.len() / DIM;
    require!(indexed == due as u64, "{indexed} rows are indexed, {due} were written");
    Ok((searches, answered))
}

/// Repeats the change with new files until there are enough searches that `amidst` accepts, or
/// enough searches of another file.
fn look(
    dir: &Path,
    data: &Dataset,
    there: usize,
    declaration: &Declaration,
    ahead: Ahead,
    amidst: impl Fn(&Around) -> bool,
) -> Result<Vec<Around>, Failure> {
    let new_file = |declaration: &Declaration| {
        let file = vector_file(dir, &data.base[..there * DIM])?;
        attach(&file, declaration).context("ATTACH")?;
        std::fs::remove_file(dir.join("base.f32"))?;
        Ok::<_, Failure>(file)
    };
    let other = new_file(&self::declaration())?;
    let (mut found, mut of_other) = (Vec::new(), 0);
    for _ in 0..TIMES {
        let file = new_file(declaration)?;
        let (searches, answered) = search_while_writing(&file, &other, data, there, ahead)?;
        found.extend(searches.into_iter().filter(&amidst));
        of_other += answered;
        if found.len() >= LEAST || of_other >= OF_ANOTHER_FILE {
            break;
        }
    }
    require!(
        found.len() >= LEAST || of_other >= OF_ANOTHER_FILE,
        "in {TIMES} changes {} searches were answered during a change, expected {LEAST}, and \
         {of_other} of a file that nobody changes: all searches wait for a change of one file",
        found.len()
    );
    Ok(found)
}

/// Rows that fill whole pages. The kernel passes a write of whole pages to a FUSE daemon as one
/// request, and ends a request with a page of which it knows only a part (`fuse_fill_write_pages` in
/// fs/fuse/file.c). With several requests, even a daemon that lets no search in while it serves one
/// would let some in between two of them.
const ROWS_OF_PAGES: usize = 128;
const _: () = assert!((ROWS_OF_PAGES * ROW).is_multiple_of(4096));

/// These are added to a graph, each of them a step.
const THERE: usize = 4 * ROWS_OF_PAGES;
const MORE: usize = 8 * ROWS_OF_PAGES;

/// The searches in the midst of that change, each of which comes after `ahead`.
fn look_at_a_graph(dir: &Path, ahead: Ahead) -> Result<Vec<Around>, Failure> {
    let data = Dataset::generate(11, THERE + MORE, DIM, 1);
    let params = [0, 400, 0, 0, 0, 0, 0, 0];
    let graph = Declaration { kind: Kind::Hnsw, params, ..declaration() };
    look(dir, &data, THERE, &graph, ahead, |around| {
        around.before > THERE as u64 && around.after < (THERE + MORE) as u64
    })
}

fn searches_wait_for_a_piece_of_a_change(dir: &Path) -> Result<(), Failure> {
    let begun = THERE as u64;
    let searches = look_at_a_graph(dir, nothing)?;
    require!(
        searches.len() >= LEAST,
        "{} searches were answered in the middle of writes of {MORE} rows, expected at least {LEAST}, \
         while {OF_ANOTHER_FILE} of another file were: they wait for all of a write",
        searches.len()
    );
    // If a busy machine makes the writer wait, many searches see the same state.
    let looks = searches.iter().flat_map(|around| [around.before, around.after]);
    let looks: BTreeSet<u64> = looks.collect();
    let piece = looks.iter().fold(0, |piece, rows| common_divisor(rows - begun, piece));
    require!(
        piece <= ROWS_OF_A_PIECE || looks.len() < LEAST,
        "a write of {MORE} rows lets searches in after {piece} rows, expected at most \
         {ROWS_OF_A_PIECE}"
    );
    Ok(())
}

/// A mapping that could have been stored to, but was not, leaves nothing to be indexed.
fn searches_wait_for_no_mapping_that_stored_nothing(dir: &Path) -> Result<(), Failure> {
    let searches = look_at_a_graph(dir, |file| {
        let mapping = Mapping::shared(file, THERE * ROW)?;
        drop(mapping.load(0, ROW));
        drop(mapping);
        Ok(())
    })?;
    require!(
        searches.len() >= LEAST,
        "{} searches were answered in the middle of writes of {MORE} rows, expected at least {LEAST}, \
         while {OF_ANOTHER_FILE} of another file were: behind a munmap of a mapping that stored \
         nothing they wait for all of a write",
        searches.len()
    );
    Ok(())
}

fn common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}

/// A write takes the number of rows past 4,096, where structures are trained, which is a single
/// step of the write. It begins shortly below: what a change does not get done in its time over FUSE
/// is owed, and a training that is owed is done by the next search, beside which there is none.
fn searches_go_on_beside_a_training(dir: &Path) -> Result<(), Failure> {
    const STEP: u64 = 4_096;
    const THERE: usize = STEP as usize - ROWS_OF_PAGES;
    const MORE: usize = 2 * ROWS_OF_PAGES;
    let data = Dataset::generate(12, THERE + MORE, DIM, 1);
    // Trainings that a change over FUSE does at once. What is more work, as 1,024 lists are, is owed.
    for (kind, params) in
        [(Kind::Pq, [24, 8, 0, 0, 0, 0, 0, 0]), (Kind::Ivf, [256, 0, 0, 0, 0, 0, 0, 0])]
    {
        let trained = Declaration { kind, params, ..declaration() };
        let searches = look(dir, &data, THERE, &trained, nothing, |around| {
            (around.before, around.after) == (STEP, STEP)
        })?;
        require!(
            searches.len() >= LEAST,
            "{kind:?}: {} searches were answered beside a training with {STEP} rows, expected \
             {LEAST}, while {OF_ANOTHER_FILE} of another file were: they wait for it",
            searches.len()
        );
    }
    Ok(())
}
