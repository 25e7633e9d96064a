//! How much work msync(2) makes an index do. The unit is the engine's pauses, which come at equal amounts
//! of work: msync must cost what write(2) of the same rows costs, and work done before a signal must not
//! be done again. Also: what a search does for an unsynced mapping after munmap(2) when memory is short.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homes::filesystem::Mapping;
use homes::kernel::fault::Injector;
use homes::kernel::{KernelMount, fault};
use machine::child::Running;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{part, require};
use measure::dataset::{self, Dataset};
use nix::sys::signal::{Signal, kill};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

use crate::trial::Context;

/// The child process that is killed in its msync(2).
pub const PART: &str = "msync";
const PAUSES: &str = "/sys/module/vexfs/parameters/pauses";
const DIM: usize = 16;
const ROW: usize = DIM * size_of::<f32>();
/// Enough for a few thousand rows on an emulated CPU.
const LIMIT: Duration = Duration::from_secs(300);
/// Two identical calls may differ by this many pauses: one for each entry into the engine.
const MARGIN: u64 = 50;

/// The child's order: how many rows to store into which file.
#[derive(Serialize, Deserialize)]
struct MsyncOrder {
    path: PathBuf,
    rows: usize,
}

/// Runs `work`, and returns how often the engine paused in it.
fn pauses(work: impl FnOnce() -> Result<(), Failure>) -> Result<u64, Failure> {
    fs::write(PAUSES, "0").context(PAUSES)?;
    work()?;
    pauses_by_now()
}

fn pauses_by_now() -> Result<u64, Failure> {
    fs::read_to_string(PAUSES).context(PAUSES)?.trim().parse().context(PAUSES)
}

/// Rows by seed: [`BEFORE`] for those that a file begins with, [`AFTER`] for those that replace
/// them.
fn rows(count: usize, seed: u32) -> Dataset {
    Dataset::generate(seed, count, DIM, 1)
}
const BEFORE: u32 = 31;
const AFTER: u32 = 32;

/// Makes a file of `count` rows with a graph.
fn graph(path: &Path, count: usize) -> Result<File, Failure> {
    fs::write(path, dataset::bytes(&rows(count, BEFORE).base))?;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let graph = Declaration { kind: Kind::Hnsw, ..Declaration::flat(DIM as u32) };
    attach(&file, &graph).context("ATTACH")?;
    Ok(file)
}

/// How many pauses it takes to replace all rows of a file of `count`, by write(2) and through a
/// mapping.
fn written_and_stored(mount: &Path, count: usize) -> Result<(u64, u64), Failure> {
    let after = rows(count, AFTER);
    let bytes = dataset::bytes(&after.base);
    let file = graph(&mount.join(format!("written-{count}")), count)?;
    let written = pauses(|| file.write_all_at(bytes, 0).context("write"))?;
    let file = graph(&mount.join(format!("stored-{count}")), count)?;
    let mapping = Mapping::shared(&file, bytes.len())?;
    mapping.store(0, bytes);
    let stored = pauses(|| mapping.sync().context("msync"))?;
    Ok((written, stored))
}

/// Stores into each row and calls msync(2).
pub(super) fn indexes_each_row_once(context: &Context) -> Result<(), Failure> {
    let loaded = fault::test_build()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let counts = [400, 800];
    let mut taken = Vec::new();
    for count in counts {
        let (written, stored) = written_and_stored(mount.path(), count)?;
        context.fact(
            &format!("pauses of the engine at {count} rows"),
            json!({"write": written, "msync": stored}),
        )?;
        require!(
            written >= count as u64 / 2 && stored <= written + written / 4 + MARGIN,
            "msync of {count} rows of a graph makes the engine pause {stored} times, write(2) of \
             the same rows {written} times"
        );
        taken.push(stored);
    }
    require!(
        taken[1] <= 3 * taken[0],
        "msync of {counts:?} rows of a graph makes the engine pause {taken:?} times: more than the \
         rows explain"
    );
    mount.unmount()?;
    loaded.unload()
}

pub(super) fn keeps_its_progress(context: &Context) -> Result<(), Failure> {
    const COUNT: usize = 1_200;
    let loaded = fault::test_build()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let whole = {
        let file = graph(&mount.path().join("whole"), COUNT)?;
        let mapping = Mapping::shared(&file, COUNT * ROW)?;
        mapping.store(0, dataset::bytes(&rows(COUNT, AFTER).base));
        pauses(|| mapping.sync().context("msync"))?
    };
    let path = mount.path().join("killed");
    let file = graph(&path, COUNT)?;
    fs::write(PAUSES, "0").context(PAUSES)?;
    let child = Running::start(&mut part::command(PART, &MsyncOrder { path, rows: COUNT })?)?;
    wait_for("half of an msync", LIMIT, || Ok((pauses_by_now()? > whole / 2).then_some(())))?;
    kill(child.pid(), Signal::SIGKILL).context("kill")?;
    let ended = child.finish(LIMIT)?;
    require!(
        ended.status.signal() == Some(Signal::SIGKILL as i32),
        "msync was not killed: it ended with {}: {}",
        ended.status,
        ended.tail()
    );
    let killed_after = pauses_by_now()?;
    let rest = pauses(|| file.sync_all().context("fsync after an msync that was killed"))?;
    context.fact(
        "pauses of the engine",
        json!({"whole": whole, "until killed": killed_after, "rest": rest}),
    )?;
    require!(
        killed_after + rest <= whole + whole / 10 + MARGIN,
        "an msync that was killed after {killed_after} of {whole} pauses of the engine left {rest}: \
         what it had done was done again"
    );
    let indexed = stats(&file, 0).context("STATS")?.rows;
    require!(indexed == COUNT as u64, "{indexed} of {COUNT} rows are indexed");
    drop(file);
    mount.unmount()?;
    loaded.unload()
}

/// A search after munmap(2) that finds no memory to index the stored rows must fail with ENOMEM,
/// and the next search must index them. Each allocation of the search fails in turn.
pub(super) fn is_tried_again(context: &Context) -> Result<(), Failure> {
    const COUNT: usize = 300;
    const STORED: usize = 40;
    /// Far more than a search makes.
    const MOST: u32 = 5_000;
    let loaded = fault::test_build()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let file = graph(&mount.path().join("f"), COUNT)?;
    let injector = Injector::Module;
    let mut refused = 0;
    let mut reached = None;
    for nth in 1..=MOST {
        let stored = rows(STORED, 100 + nth);
        let mapping = Mapping::shared(&file, COUNT * ROW)?;
        mapping.store(0, dataset::bytes(&stored.base));
        drop(mapping);
        let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
        let row = nth as usize % STORED;
        injector.fail_nth(nth)?;
        let first = searcher.search(&file, stored.row(row)).map(<[_]>::to_vec);
        let left = injector.until_failure()?;
        injector.fail_nth(0)?;
        let hits = match first {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && left == 0 => {
                refused += 1;
                searcher.search(&file, stored.row(row)).context("the next SEARCH")?.to_vec()
            }
            first => first.context(format!("SEARCH while allocation {nth} fails"))?,
        };
        require!(
            matches!(hits[..], [hit] if hit.row == row as u64 && hit.distance == 0),
            "row {row} is not found as it was stored, after a search whose allocation {nth} failed: \
             {hits:?}"
        );
        if left > 0 {
            reached = Some(nth - left);
            break;
        }
    }
    let Some(all) = reached else { machine::fail!("a search makes more than {MOST} allocations") };
    context.fact("allocations of a search", json!({"all": all, "refused it": refused}))?;
    require!(refused > 2, "{refused} of {all} allocations refused a search that failed");
    let indexed = stats(&file, 0).context("STATS")?.rows;
    require!(indexed == COUNT as u64, "{indexed} of {COUNT} rows are indexed");
    drop(file);
    mount.unmount()?;
    loaded.unload()
}

/// Stores all rows and calls msync(2), in which it is killed.
///
/// # Errors
/// Any failure other than being killed.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: MsyncOrder = serde_json::from_str(order).context("parsing the order")?;
    let file = OpenOptions::new().read(true).write(true).open(&order.path)?;
    let mapping = Mapping::shared(&file, order.rows * ROW)?;
    mapping.store(0, dataset::bytes(&rows(order.rows, AFTER).base));
    mapping.sync().context("msync")
}
