//! Changes of a file with several indexes that are killed while others search it. Their process
//! must be gone soon, and afterwards all indexes must have the rows that the file has.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use evidence::place::Place;
use homes::Mounted;
use homes::filesystem::Mapping;
use homes::sequence::Model;
use machine::child::{Running, in_words};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{part, require};
use measure::dataset;
use nix::sys::signal::Signal;
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};
use vexfs_uapi::{Home, Kind, Metric, most_queries};

use crate::adversary::{ReplyBound, processor_time};
use crate::both_homes;
use crate::trial::{Context, Trial};

/// The process that searches or is killed.
pub const PART: &str = "killed-change";
/// The slot of the graph, over rows of one component.
const GRAPH: u32 = 0;
/// Slots and dimensions of the exact indexes. A change of the graph's rows stops within theirs.
const EXACT: [(u32, u32); 2] = [(1, 8), (2, 12)];
/// Slot and dimension of an exact index over rows so short that a search of it takes long.
const SHORT: (u32, u32) = (0, 16);
/// Slots and dimensions of exact indexes where a change stops at the end of a page, at every
/// eighth KiB, and most often within a row of the first of them.
const LONG: [(u32, u32); 2] = [(1, 1_536), (2, 2_048)];
/// Components of the file with long rows.
const LONG_COMPONENTS: usize = 1 << 20;
/// The largest efSearch: each query visits all rows.
const EF: u32 = 65_536;
const SEARCHERS: usize = 2;
const VALUE: usize = size_of::<f32>();
const PAGE: usize = 4096;
/// The longest wait for a change to begin. It waits for the searches under way.
const BEGUN: Duration = Duration::from_secs(900);
/// How long a process may take to end once nobody searches any more.
const END: Duration = Duration::from_secs(120);
/// In an emulated guest, which gets ten times as long, the longest trial takes minutes where searches
/// hold up the change.
const LIMIT: Duration = Duration::from_secs(300);
/// More pages than the module takes the marks of at once.
const MAPPED_PAGES: usize = 1_300;
const AT_ONCE: usize = 1_024;
/// One process is killed in its first msync, the next one in its second. A third would only repeat
/// that, and whole ones before it take half a minute of an emulated CPU.
const TIMES: usize = 2;
/// How often a change is tried until a signal ends it.
const TRIES: usize = 10;
/// How often a hole must end within a row, and how many are tried. If nobody holds the index at that
/// moment, the row is put right at once.
const WITHIN: usize = 4;
const HOLES: usize = 16;

/// What a process does with the file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Act {
    Search,
    /// Search the rows of [`SHORT`].
    Scan,
    Write,
    Punch,
    /// A hole in the file of [`LONG`] rows; it is killed once it has begun.
    Hole,
    Truncate,
    Msync,
}

/// A process's order.
#[derive(Serialize, Deserialize)]
struct Order {
    path: PathBuf,
    act: Act,
    /// How many components the file has.
    components: usize,
}

/// The trials of `home`. Over FUSE no change waits for searches longer than half a second: the
/// adversary `searches_what_he_removes` sees that.
pub fn trials(home: Home) -> impl Iterator<Item = Trial> {
    let waits = (home == Home::Kernel).then(|| {
        [
            both_homes::trial(home, "killed_changes_wait_for_no_search", "64M", wait_for_none),
            both_homes::trial(
                home,
                "a_killed_hole_leaves_no_index_behind",
                "64M",
                hole_within_a_row,
            ),
        ]
    });
    let msync = both_homes::trial(home, "a_killed_msync_of_many_pages_loses_no_row", "64M", msync);
    waits.into_iter().flatten().chain([msync]).map(move |trial| {
        let trial = trial.within(LIMIT);
        if home == Home::Fuse { trial.only_in(Place::Host) } else { trial }
    })
}

/// The file's components at the `turn`-th change; all of them differ from those of the turn before.
fn values(components: usize, turn: u32) -> Vec<f32> {
    (0..components).map(|at| at as f32 + turn as f32 * 0.25).collect()
}

/// Makes a file with the `exact` indexes and, if `graph`, with the graph.
fn made(
    path: &Path,
    components: usize,
    exact: &[(u32, u32)],
    graph: bool,
) -> Result<File, Failure> {
    let mut how = OpenOptions::new();
    let file = how.read(true).write(true).create_new(true).open(path)?;
    file.write_all_at(dataset::bytes(&values(components, 0)), 0).context("writing rows")?;
    if graph {
        let params = [32, 32, 0, 0, 0, 0, 0, 0];
        let declaration =
            Declaration { kind: Kind::Hnsw, index: GRAPH, params, ..Declaration::flat(1) };
        attach(&file, &declaration).context("ATTACH of HNSW")?;
    }
    for &(index, dim) in exact {
        attach(&file, &Declaration { index, ..Declaration::flat(dim) }).context("ATTACH")?;
    }
    Ok(file)
}

fn started(path: &Path, act: Act, components: usize) -> Result<Running, Failure> {
    let order = Order { path: path.to_owned(), act, components };
    Running::start(&mut part::command(PART, &order)?)
}

fn content(file: &File) -> Result<Vec<u8>, Failure> {
    let length = file.metadata()?.len();
    let most = MAPPED_PAGES * PAGE;
    require!(length <= most as u64, "a file of at most {most} bytes says that it has {length}");
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0).context("read")?;
    Ok(bytes)
}

/// Waits until `process` has said what is `due`.
///
/// # Errors
/// If it ends before: with a signal, if a byte that it stores into cannot be had.
fn says(process: &Running, what: &str, due: impl Fn(&str) -> bool) -> Result<(), Failure> {
    wait_for(what, BEGUN, || {
        let ended = process.ended()?;
        let said = process.said()?;
        if due(&said) {
            return Ok(Some(()));
        }
        match ended {
            Some(status) => {
                machine::fail!("before {what}, the process {}: {said}", in_words(status))
            }
            None => Ok(None),
        }
    })
}

/// Kills `changer`. Returns how long it took to be gone, or `None` if it is still there after
/// `granted`.
fn killed(changer: &Running, granted: Duration) -> Result<Option<Duration>, Failure> {
    let since = Instant::now();
    changer.kill();
    while changer.ended()?.is_none() {
        if since.elapsed() > granted {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(Some(since.elapsed()))
}

fn wait_for_none(context: &Context, mounted: &Mounted) -> Result<(), Failure> {
    let path = mounted.path().join("base.f32");
    let components = if context.emulated() { 8_192 } else { 32_768 };
    let file = made(&path, components, &EXACT, true)?;
    let bound = ReplyBound::start(context.emulated());
    let mut told = Vec::new();
    let outcome = [Act::Write, Act::Punch, Act::Truncate].into_iter().try_for_each(|act| {
        for _ in 0..TRIES {
            let (was_killed, seen) = killed_beside_searches(&file, &path, act, components, &bound)?;
            told.push(seen);
            has_its_rows(&file, &EXACT, 0..usize::MAX, true)
                .context(format!("after a killed {act:?}"))?;
            if was_killed {
                return Ok(());
            }
            file.write_all_at(dataset::bytes(&values(components, 0)), 0).context("writing rows")?;
        }
        Err(Failure::undecided(format!(
            "in {TRIES} tries a {act:?} beside searches ended by itself, before it was killed: it \
             does not wait for them, or they were too short"
        )))
    });
    bound.stop();
    context.fact("killed changes", told)?;
    outcome
}

/// Kills a change that has begun and waits for searches. Returns whether the signal ended it, and
/// what was seen.
fn killed_beside_searches(
    file: &File,
    path: &Path,
    act: Act,
    components: usize,
    bound: &ReplyBound,
) -> Result<(bool, serde_json::Value), Failure> {
    let search = if act == Act::Hole { Act::Scan } else { Act::Search };
    let searchers: Vec<Running> =
        (0..SEARCHERS).map(|_| started(path, search, components)).collect::<Result<_, _>>()?;
    for searcher in &searchers {
        says(searcher, "a search to begin", |said| !said.is_empty())?;
    }
    let changer = started(path, act, components)?;
    begun(file, &changer, act)?;
    let granted = bound.now();
    let took = killed(&changer, granted)?;
    let searched = searchers.iter().all(|searcher| matches!(searcher.ended(), Ok(None)));
    let ends: Vec<_> =
        searchers.iter().map(|searcher| killed(searcher, bound.now())).collect::<Result<_, _>>()?;
    let last = changer.finish(END)?;
    let said = last.tail();
    for searcher in searchers {
        let found = searcher.finish(END)?.tail();
        require!(!found.contains("found: "), "a search beside a {act:?} that is killed: {found}");
    }
    require!(searched, "a search ended by itself");
    require!(!said.contains("found: "), "a {act:?} that is killed: {said}");
    let granted_s = granted.as_secs_f64();
    require!(
        took.is_some(),
        "a {act:?} that was killed while others search is still there {granted_s:.1} s after \
         SIGKILL; it was at: {said}"
    );
    require!(
        ends.iter().all(Option::is_some),
        "a search of thousands of rows is still there {granted_s:.1} s after SIGKILL"
    );
    let was_killed = last.status.signal() == Some(Signal::SIGKILL as i32);
    let seen = json!({
        "change": format!("{act:?}"),
        "at": said,
        "ended": last.status.to_string(),
        "gone after ms": took.unwrap_or_default().as_secs_f64() * 1e3,
        "granted ms": granted_s * 1e3,
    });
    Ok((was_killed, seen))
}

/// Waits until the change has begun, or has ended.
fn begun(file: &File, changer: &Running, act: Act) -> Result<(), Failure> {
    let begun: Box<dyn Fn() -> Result<bool, Failure>> = match act {
        // The file does not show it: it keeps all of its rows until the new graph is in its place.
        // STATS must not be asked, because it would wait behind the truncate(2).
        Act::Truncate => {
            says(changer, "a truncate(2) to begin", |said| !said.is_empty())?;
            let worked = || processor_time(changer.pid().as_raw().cast_unsigned());
            let before = worked();
            Box::new(move || Ok(worked() > before))
        }
        Act::Hole => Box::new(|| {
            let mut second = [0; VALUE];
            file.read_exact_at(&mut second, VALUE as u64).context("read")?;
            Ok(second == [0; VALUE])
        }),
        _ => {
            let before = content(file)?;
            Box::new(move || Ok(content(file)? != before))
        }
    };
    wait_for(format!("a {act:?} to begin"), BEGUN, || {
        Ok((begun()? || changer.ended()?.is_some()).then_some(()))
    })
}

/// A hole is killed while it waits for searches, at the end of a page and within a row of one of
/// the indexes. The first bytes of that row are zeros then, and the index must have it so.
fn hole_within_a_row(context: &Context, mounted: &Mounted) -> Result<(), Failure> {
    let path = mounted.path().join("base.f32");
    let indexes: Vec<(u32, u32)> = [SHORT].into_iter().chain(LONG).collect();
    let file = made(&path, LONG_COMPONENTS, &indexes, false)?;
    let bound = ReplyBound::start(context.emulated());
    let (row, longest) = (LONG[0].1 as usize, LONG[1].1 as usize);
    let (mut told, mut within) = (Vec::new(), 0);
    let outcome = (|| {
        for _ in 0..HOLES {
            let (was_killed, seen) =
                killed_beside_searches(&file, &path, Act::Hole, LONG_COMPONENTS, &bound)?;
            let bytes = content(&file)?;
            let zeros = bytes.chunks(VALUE).take_while(|value| **value == [0; VALUE]).count();
            told.push(json!({ "zeros": zeros, "of": seen }));
            let which = zeros.saturating_sub(longest)..zeros + longest;
            has_its_rows(&file, &indexes, which, false)
                .context(format!("after a hole that was killed behind {zeros} components"))?;
            within += usize::from(was_killed && !zeros.is_multiple_of(row));
            if within == WITHIN {
                return Ok(());
            }
            file.write_all_at(dataset::bytes(&values(LONG_COMPONENTS, 0)), 0).context("write")?;
        }
        Err(Failure::undecided(format!(
            "of {HOLES} holes beside searches {within} were killed within a row"
        )))
    })();
    bound.stop();
    context.fact("killed holes", told)?;
    outcome
}

/// Checks that all indexes have the rows that the file has, and no others. Of the rows of the
/// `exact` indexes those that begin at the components `which` are searched for.
fn has_its_rows(
    file: &File,
    exact: &[(u32, u32)],
    which: impl std::ops::RangeBounds<usize>,
    graph: bool,
) -> Result<(), Failure> {
    let bytes = content(file)?;
    let model = |dim: u32| -> Result<Model, Failure> {
        let mut model = Model::new(dim as usize, Metric::L2);
        require!(model.write(0, &bytes).is_some(), "a row is not finite");
        Ok(model)
    };
    let counted = |index: u32, model: &Model| -> Result<(), Failure> {
        let indexed = stats(file, index).context("STATS")?.rows;
        let rows = model.rows();
        require!(
            indexed == rows as u64,
            "{indexed} rows are in index {index}, the file has {rows}"
        );
        Ok(())
    };
    for &(index, dim) in exact {
        let model = model(dim)?;
        let mut searcher = Searcher::new(dim, 1, index)?;
        for row in (0..model.rows()).filter(|row| which.contains(&(row * dim as usize))) {
            let query = model.row(row);
            let hits = searcher.search(file, &query).context("SEARCH")?;
            require!(
                matches!(hits, [hit] if hit.distance == 0 && hit.row < model.rows() as u64
                    && model.row(hit.row as usize) == query),
                "row {row} of index {index} is not found as it is in the file: {hits:?}"
            );
        }
        counted(index, &model)?;
    }
    if !graph {
        return Ok(());
    }
    let model = model(1)?;
    let mut searcher = Searcher::new(1, 10, GRAPH)?;
    for row in (0..model.rows()).step_by(61) {
        let query = model.row(row);
        let hits = searcher.search(file, &query).context("SEARCH")?;
        model.check(&query, 10, false, hits).context("the graph")?;
    }
    counted(GRAPH, &model)
}

fn msync(context: &Context, mounted: &Mounted) -> Result<(), Failure> {
    let path = mounted.path().join("base.f32");
    let components = MAPPED_PAGES * PAGE / VALUE;
    let file = made(&path, components, &EXACT, false)?;
    let bound = ReplyBound::start(context.emulated());
    let mut told = Vec::new();
    for time in 0..TIMES {
        let changer = started(&path, Act::Msync, components)?;
        says(&changer, "stores into all pages", |said| said.lines().count() > time)?;
        let granted = bound.now();
        let took = killed(&changer, granted)?;
        let said = changer.finish(END)?.tail();
        require!(!said.contains("found: "), "an msync that is killed: {said}");
        let Some(took) = took else {
            machine::fail!(
                "an msync of {MAPPED_PAGES} pages is still there {:.1} s after SIGKILL",
                granted.as_secs_f64()
            )
        };
        told.push(took.as_secs_f64() * 1e3);
        // The rows around the end of the first batch of pages, and those at both ends of the file.
        let end = AT_ONCE * PAGE / VALUE;
        for around in [0, end, components] {
            let which = around.saturating_sub(40)..around + 40;
            has_its_rows(&file, &EXACT, which, false).context("after a killed msync")?;
        }
    }
    bound.stop();
    context.fact("gone after, ms", told)
}

/// Searches the file, or changes it, until it is killed.
///
/// # Errors
/// Any failure other than being killed.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: Order = serde_json::from_str(order).context("parsing the order")?;
    let file = OpenOptions::new().read(true).write(true).open(&order.path)?;
    let length = order.components * VALUE;
    if order.act == Act::Truncate {
        println!("truncate");
        // To fewer than half of the rows, so that the graph is linked anew.
        return file.set_len(length as u64 / 3).context("truncate");
    }
    if order.act == Act::Msync {
        return store_and_sync(&file, order.components);
    }
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for turn in 1_u32.. {
        let values = values(order.components, turn);
        println!("{:?}, turn {turn}", order.act);
        match order.act {
            Act::Search => {
                let mut searcher = Searcher::new(1, 1, GRAPH)?.with_param(EF);
                let queries = &values[..most_queries(1, 1)];
                searcher.search_batch(&file, queries, |_| ()).context("SEARCH")?;
            }
            Act::Scan => {
                let (index, dim) = SHORT;
                let queries = &values[..most_queries(dim as usize, 1) * dim as usize];
                let mut searcher = Searcher::new(dim, 1, index)?;
                searcher.search_batch(&file, queries, |_| ()).context("SEARCH")?;
            }
            Act::Punch | Act::Hole => {
                fallocate(&file, hole, 0, length as u64).context("fallocate")?;
                file.write_all_at(dataset::bytes(&values), 0).context("write")?;
            }
            _ => file.write_all_at(dataset::bytes(&values), 0).context("write")?,
        }
    }
    Ok(())
}

/// Stores all components through a mapping and calls msync(2), again and again.
fn store_and_sync(file: &File, components: usize) -> Result<(), Failure> {
    let mapping = Mapping::shared(file, components * VALUE).context("mmap")?;
    for turn in 1_u32.. {
        mapping.store(0, dataset::bytes(&values(components, turn)));
        println!("turn {turn} is stored");
        mapping.sync().context("msync")?;
    }
    Ok(())
}
