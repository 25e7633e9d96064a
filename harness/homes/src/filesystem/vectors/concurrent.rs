//! Searches while everything changes that can change their file.
//!
//! Each row carries a number that no other row ever has, numbers only rise from row to row, and a
//! whole row is written at once. So a distance tells which row was seen, and an answer can be
//! checked for whether the file was ever in such a state.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use measure::dataset::{self, Dataset};
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Hit, Kind, Metric};

use super::file::{declaration, indexed, small, vector_file};
use crate::filesystem::operation::{Effort, Operation, operations};
use crate::filesystem::threads::{beside, in_threads};

pub(super) const OPERATIONS: &[Operation] = operations![
    searches_among_writers_find_what_was_there.effort(Effort::Long),
    searches_of_a_file_truncated_to_nothing.effort(Effort::Long),
    searches_go_on_while_an_index_is_built.effort(Effort::Long),
];

const DIM: usize = 9;
const ROW: usize = DIM * size_of::<f32>();
const K: u32 = 8;
/// The first row's number. With smaller ones, a square could equal a square plus a mark.
const FIRST: u32 = 10;
/// Rows that stay; one of the writers sets and clears their marks.
const STABLE: u32 = 64;
/// Greater than any row's number; f32 holds its square exactly.
const TOP: u32 = 2_000;

/// The row with `number`: all its other components are 1 if it is marked, and 0 otherwise.
fn row(number: u32, marked: bool) -> [f32; DIM] {
    let mut row = [f32::from(u8::from(marked)); DIM];
    row[0] = number as f32;
    row
}

/// A query whose squared distance to row `number` is (`from` - `number`)², plus 8 if the row is
/// marked.
fn query(from: u32) -> [f32; DIM] {
    let mut query = [0.0; DIM];
    query[0] = from as f32;
    query
}

/// The distance of `hit` from the query, and whether the row is marked. A half-written row would be
/// at another distance.
fn decode(hit: &Hit) -> Result<(u32, bool), Failure> {
    let squared = f32::from_bits(hit.distance);
    let distance = squared.sqrt().floor();
    let rest = squared - distance * distance;
    require!(rest == 0.0 || rest == 8.0, "no row was ever at squared distance {squared}: {hit:?}");
    Ok((distance as u32, rest == 8.0))
}

/// The file, and what is known about it at any time.
struct Numbered {
    file: File,
    /// The next number to be appended.
    next: AtomicU32,
}

/// The end of the file that a query is close to.
#[derive(Clone, Copy, PartialEq)]
enum EndRow {
    First,
    Last,
}

impl Numbered {
    /// Checks an answer against every state that the file can have been in. Returns the number of
    /// rows that the file had, if the answer shows it.
    fn check(&self, end: EndRow, exact: bool, hits: &[Hit]) -> Result<u64, Failure> {
        require!(hits.len() == K as usize, "{} hits, expected {K}", hits.len());
        let mut before: Option<(u32, u64)> = None;
        for hit in hits {
            let (distance, marked) = decode(hit)?;
            let number = if end == EndRow::First { distance } else { TOP - distance };
            let row = u32::try_from(hit.row)?;
            // Rows are only ever cut off at the end, so a number is never at an earlier place than
            // its original one.
            let there = number >= FIRST + row && number < self.next.load(Ordering::SeqCst);
            require!(there, "row {row} never had number {number}: {hits:?}");
            require!(row >= STABLE || number == FIRST + row, "row {row} never had number {number}");
            require!(row < STABLE || !marked, "row {row} was never marked: {hits:?}");
            if let Some((last, last_row)) = before {
                let (nearer, farther) = if end == EndRow::First {
                    ((last, last_row), (number, hit.row))
                } else {
                    ((number, hit.row), (last, last_row))
                };
                let rises = nearer.0 < farther.0 && nearer.1 < farther.1;
                require!(rises, "the file never had these rows together: {hits:?}");
                let next = !exact || farther.1 == nearer.1 + 1;
                require!(next, "a row in between is missing: {hits:?}");
            }
            before = Some((number, hit.row));
        }
        require!(!exact || end == EndRow::Last || hits[0].row == 0, "row 0 is missing: {hits:?}");
        Ok(hits[0].row + 1)
    }

    /// Searches slot `slot` as long as writers are `busy`, but at least once. Returns the number of
    /// searches, and the sum of their numbers of rows.
    fn search(
        &self,
        slot: u32,
        end: EndRow,
        exact: bool,
        busy: &AtomicBool,
    ) -> Result<(u64, u64), Failure> {
        let mut searcher = Searcher::new(DIM as u32, K, slot)?;
        let query = query(if end == EndRow::First { 0 } else { TOP });
        let (mut searches, mut rows) = (0, 0);
        while searches == 0 || busy.load(Ordering::SeqCst) {
            let hits =
                searcher.search(&self.file, &query).context(format!("SEARCH of slot {slot}"))?;
            rows += self.check(end, exact, hits)?;
            searches += 1;
        }
        Ok((searches, rows))
    }

    /// Appends rows, two at a time.
    fn append(&self, dir: &Path, times: u32) -> Result<(), Failure> {
        let mut end = OpenOptions::new().append(true).open(dir.join("base.f32"))?;
        for _ in 0..times {
            let number = self.next.fetch_add(2, Ordering::SeqCst);
            let rows = [row(number, false), row(number + 1, false)].concat();
            end.write_all(dataset::bytes(&rows)).context("appending")?;
        }
        Ok(())
    }

    fn mark(&self, times: u32) -> Result<(), Failure> {
        for time in 0..times {
            let number = time * 7 % STABLE;
            let bytes = row(FIRST + number, (time / STABLE).is_multiple_of(2));
            self.file
                .write_all_at(dataset::bytes(&bytes), u64::from(number) * ROW as u64)
                .context("overwriting")?;
        }
        Ok(())
    }

    /// Cuts off the last rows, but none of those that stay.
    fn cut_off(&self, times: u32) -> Result<(), Failure> {
        for time in 0..times {
            let rows = self.file.metadata()?.len() / ROW as u64;
            let left = rows.saturating_sub(u64::from(time % 9)).max(STABLE.into());
            self.file.set_len(left * ROW as u64).context("truncating")?;
        }
        Ok(())
    }

    fn attach_and_detach(&self, times: u32) -> Result<(), Failure> {
        for kind in Kind::ALL.into_iter().cycle().take(times as usize) {
            attach(&self.file, &numbered(kind, 2)).context(format!("ATTACH {kind:?}"))?;
            let mut searcher = Searcher::new(DIM as u32, K, 2)?;
            let hits = searcher.search(&self.file, &query(0)).context("SEARCH")?;
            self.check(EndRow::First, kind == Kind::Flat, hits).context(format!("{kind:?}"))?;
            detach(&self.file, 2).context("DETACH")?;
        }
        Ok(())
    }
}

fn numbered(kind: Kind, index: u32) -> Declaration {
    Declaration { kind, index, metric: Metric::L2, ..Declaration::flat(DIM as u32) }
}

fn stable_rows() -> Vec<f32> {
    (0..STABLE).flat_map(|number| row(FIRST + number, false)).collect()
}

fn searches_among_writers_find_what_was_there(dir: &Path) -> Result<(), Failure> {
    let numbered_file =
        Numbered { file: vector_file(dir, &stable_rows())?, next: AtomicU32::new(FIRST + STABLE) };
    let one = &numbered_file;
    attach(&one.file, &numbered(Kind::Flat, 0)).context("ATTACH")?;
    attach(&one.file, &numbered(Kind::Hnsw, 1)).context("ATTACH")?;
    let writers = || {
        in_threads(4, |writer| match writer {
            0 => one.append(dir, 300),
            1 => one.mark(200),
            2 => one.cut_off(100),
            _ => one.attach_and_detach(15),
        })
    };
    let searchers = |busy: &AtomicBool| {
        in_threads(3, |searcher| match searcher {
            0 => one.search(1, EndRow::First, false, busy),
            _ => one.search(0, EndRow::Last, true, busy),
        })
    };
    let (_, counts) = beside(writers, searchers)?;
    let [(approximate, _), exact @ ..] = &counts[..] else { fail!("a searcher is missing") };
    let exact = exact.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let told = stats(&one.file, 0).context("STATS")?;
    let counted = (told.searches, told.distances);
    require!(
        counted == exact,
        "the exact index counts {counted:?} searches and distances, expected {exact:?}"
    );
    let searches = stats(&one.file, 1).context("STATS")?.searches;
    require!(
        searches == *approximate,
        "the graph counts {searches} searches, expected {approximate}"
    );
    let rows = one.file.metadata()?.len() / ROW as u64;
    require!(told.rows == rows, "{} rows are indexed, the file has {rows}", told.rows);
    one.search(0, EndRow::First, true, &AtomicBool::new(false))?;
    Ok(())
}

/// Hundreds of rows come and all go at once. An answer has either rows or none.
fn searches_of_a_file_truncated_to_nothing(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base)?;
    let bytes = dataset::bytes(&data.base[..super::file::DIM * 300]);
    let truncate = || {
        (0..60).try_for_each(|_| {
            file.set_len(0).context("truncating")?;
            file.write_all_at(bytes, 0).context("writing")
        })
    };
    let search = |searcher: usize, busy: &AtomicBool| {
        let mut request = Searcher::new(super::file::DIM as u32, 300, 0)?;
        let mut answers = 0_u64;
        while answers == 0 || busy.load(Ordering::SeqCst) {
            let hits = request.search(&file, data.row(searcher)).context("SEARCH")?;
            require!(hits.iter().all(|hit| hit.row < 700), "a row that never existed: {hits:?}");
            // A single write(2) of all rows is one change.
            let state = hits.is_empty() || hits[0].row == searcher as u64 && hits[0].distance == 0;
            require!(state, "expected no hits, or row {searcher} first: {hits:?}");
            answers += 1;
        }
        Ok(answers)
    };
    let ((), answers) = beside(truncate, |busy| in_threads(3, |number| search(number, busy)))?;
    let counted = stats(&file, 0).context("STATS")?.searches;
    let due: u64 = answers.iter().sum();
    require!(counted == due, "{counted} searches are counted, expected {due}");
    super::file::expect_current(&file, 0, true)
}

/// While an index is built, searches of another file and of another index of the same file are
/// answered.
fn searches_go_on_while_an_index_is_built(dir: &Path) -> Result<(), Failure> {
    const ROWS: usize = 4_000;
    let large = Dataset::generate(1, ROWS, super::file::DIM, 0);
    let (same, other) = (dir.join("same"), dir.join("other"));
    std::fs::create_dir(&same)?;
    std::fs::create_dir(&other)?;
    let same = indexed(&same, &large.base)?;
    let other = indexed(&other, &small().base)?;
    let building = AtomicBool::new(false);
    let build = || {
        building.store(true, Ordering::SeqCst);
        let declaration = Declaration { kind: Kind::Hnsw, index: 1, ..declaration() };
        let attached = attach(&same, &declaration).context("ATTACH");
        building.store(false, Ordering::SeqCst);
        attached
    };
    let search = |file: &File, busy: &AtomicBool| {
        let mut meanwhile = 0;
        while busy.load(Ordering::SeqCst) {
            let began = building.load(Ordering::SeqCst);
            super::file::nearest(file, large.row(0), super::file::K)?;
            meanwhile += u32::from(began && building.load(Ordering::SeqCst));
        }
        Ok(meanwhile)
    };
    let (rows, meanwhile) =
        beside(build, |busy| in_threads(2, |number| search([&same, &other][number], busy)))?;
    require!(rows == ROWS as u64, "{rows} rows are indexed, expected {ROWS}");
    // A few searches could be answered before ATTACH takes the locks that it holds to its end.
    for (which, answers) in ["the same", "another"].iter().zip(meanwhile) {
        require!(
            answers >= 10,
            "{answers} searches of {which} file were answered while an index was built, expected \
             10 or more"
        );
    }
    super::file::expect_current(&same, 1, false)
}

/// Searches a file in `dir` and writes to it, in threads, while `end` removes the mount or tries
/// to. Each request must be served or fail with one of `errnos`, and all of them must end.
///
/// # Errors
/// An error that is not among `errnos`, a wrong answer, or the error of `end`.
pub fn requests_end_well(
    dir: &Path,
    errnos: &[i32],
    end: impl FnOnce() -> Result<(), Failure> + Send,
) -> Result<Served, Failure> {
    const SEARCHERS: usize = 2;
    const CLIENTS: usize = 4;
    let data = small();
    let file = indexed(dir, &data.base)?;
    let served = [const { AtomicU64::new(0) }; CLIENTS];
    let end = || {
        wait_for("requests to be under way", Duration::from_secs(60), || {
            let under_way = served.iter().all(|count| count.load(Ordering::SeqCst) > 2);
            Ok(under_way.then_some(()))
        })?;
        end()
    };
    let serve = |client: usize, busy: &AtomicBool| {
        let mut request = Searcher::new(super::file::DIM as u32, super::file::K, 0)?;
        // Make some requests after the end, too.
        let mut more = 5;
        while more > 0 {
            more -= u32::from(!busy.load(Ordering::SeqCst));
            let done = if client < SEARCHERS {
                request.search(&file, data.row(client)).map(|hits| {
                    let right = hits[0].row == client as u64 && hits[0].distance == 0;
                    right.then_some(()).ok_or_else(|| format!("{hits:?}, expected row {client}"))
                })
            } else {
                // Write a row of its own, unchanged.
                let row = data.row(client);
                file.write_all_at(dataset::bytes(row), (client * super::file::ROW) as u64).map(Ok)
            };
            match done {
                Ok(answer) => {
                    answer.map_err(Failure::new)?;
                    served[client].fetch_add(1, Ordering::SeqCst);
                }
                Err(error) if error.raw_os_error().is_some_and(|one| errnos.contains(&one)) => {}
                Err(error) => return Err(error).context("a request while the mount is taken down"),
            }
        }
        Ok(())
    };
    beside(end, |busy| in_threads(CLIENTS, |number| serve(number, busy)))?;
    let served = served.map(AtomicU64::into_inner);
    let (searches, writes) = served.split_at(SEARCHERS);
    Ok(Served { searches: searches.iter().sum(), writes: writes.iter().sum() })
}

/// How many requests were served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Searches.
    pub searches: u64,
    /// Rows written.
    pub writes: u64,
}
