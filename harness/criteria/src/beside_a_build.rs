//! Processes that change a file while an index of hours is being built for it. They wait for the
//! build, but must end when they are killed, and hold no memory meanwhile.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use homes::filesystem::{Mapping, submit_sync};
use homes::kernel::{KernelMount, MemoryCgroup, ModuleFile};
use machine::child::{Running, in_words};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{part, require};
use measure::dataset;
use serde::{Deserialize, Serialize};
use vexfs_uapi::client::{Declaration, Searcher, attach};
use vexfs_uapi::{Home, Kind};

use crate::adversary::{ReplyBound, processor_time};
use crate::trial::Context;
use crate::watched::own_knows_requests;

/// A process that builds the index, or changes the file meanwhile.
pub const PART: &str = "beside-a-build";
const DIM: u32 = 16;
const ROWS: usize = 20_000;
const COMPONENTS: usize = ROWS * DIM as usize;
/// The slot of the index that is there, and of the one that is being built.
const THERE: u32 = 0;
const BUILT: u32 = 1;
/// Parameters of a graph over [`ROWS`] that takes hours.
const SLOW: [u32; 8] = [128, 20_000, 0, 0, 0, 0, 0, 0];
/// Processor time by which the process has certainly started, and is building.
const AT_IT: Duration = Duration::from_secs(2);
/// The longest wait for a process to begin or to end.
const LIMIT: Duration = Duration::from_secs(60);
/// How many threads write at the same time.
const WRITERS: usize = 64;
/// How much each writes: as much as the module copies into the kernel at once.
const WRITTEN: usize = 1 << 20;
/// How often in a row all of them must be seen to wait.
const LOOKS: u32 = 3;
/// What a thread that waits may hold: its stacks and what else the kernel needs for a thread.
const THREADS_OWN: u64 = 256 << 10;
const THREADS_STACK: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Act {
    Build,
    Sync,
    Search,
    Write,
}

#[derive(Serialize, Deserialize)]
struct Order {
    path: PathBuf,
    act: Act,
}

/// All components of the file before and after the stores; no two rows are equal.
fn values(stored: bool) -> Vec<f32> {
    (0..COMPONENTS).map(|at| at as f32 + if stored { 0.5 } else { 0.0 }).collect()
}

fn started(path: &Path, act: Act, cgroup: Option<&MemoryCgroup>) -> Result<Running, Failure> {
    let mut command = part::command(PART, &Order { path: path.to_owned(), act })?;
    if let Some(cgroup) = cgroup {
        cgroup.joins(&mut command)?;
    }
    Running::start(&mut command)
}

/// Runs `beside` while an index of hours is being built for a file that has one already.
fn beside_a_build(
    beside: impl FnOnce(&Path) -> Result<(), Failure>,
    afterwards: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=256M")?;
    own_knows_requests(Home::Kernel, mount.path())?;
    let path = mount.path().join("rows.f32");
    fs::write(&path, dataset::bytes(&values(false)))?;
    attach(&opened(&path)?, &Declaration { index: THERE, ..Declaration::flat(DIM) })
        .context("ATTACH of the index that is there")?;
    let building = started(&path, Act::Build, None)?;
    let pid = building.pid().as_raw().unsigned_abs();
    wait_for("an ATTACH to be under way", LIMIT, || {
        require!(building.ended()?.is_none(), "the ATTACH ended: {}", building.said()?);
        Ok((processor_time(pid) > AT_IT).then_some(()))
    })?;
    let outcome = beside(&path);
    // Had it ended before, nothing would have been shown.
    let ended = building.ended()?;
    building.kill();
    let last = building.finish(LIMIT)?;
    outcome?;
    require!(ended.is_none(), "the ATTACH ended by itself: {}", last.tail());
    afterwards(&path)?;
    mount.unmount()?;
    loaded.unload()
}

fn opened(path: &Path) -> Result<File, Failure> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}

/// The kernel carries out an asynchronous fsync in a thread of its own, which no signal ends. If
/// that thread did the engine's work or waited for it, so would the process that submitted the
/// fsync and was killed.
pub(super) fn killed_syncs_are_gone(context: &Context) -> Result<(), Failure> {
    let bound = ReplyBound::start(context.emulated());
    let beside = |path: &Path| {
        let syncing = started(path, Act::Sync, None)?;
        wait_for("an fsync to be submitted", LIMIT, || {
            if let Some(status) = syncing.ended()? {
                machine::fail!("the fsync process {}: {}", in_words(status), syncing.said()?);
            }
            Ok((!syncing.said()?.is_empty()).then_some(()))
        })?;
        let granted = bound.now();
        let since = Instant::now();
        syncing.kill();
        while syncing.ended()?.is_none() {
            require!(
                since.elapsed() < granted,
                "a process that submitted an fsync beside an ATTACH is still there {:.1} s after \
                 SIGKILL",
                granted.as_secs_f64()
            );
            thread::sleep(Duration::from_millis(2));
        }
        context.fact("gone after, ms", since.elapsed().as_secs_f64() * 1e3)?;
        syncing.finish(LIMIT).map(drop)
    };
    let outcome = beside_a_build(beside, |path| {
        let file = opened(path)?;
        let rows = values(true);
        let mut searcher = Searcher::new(DIM, 1, THERE)?;
        for (row, query) in rows.chunks(DIM as usize).enumerate().step_by(997) {
            let hits = searcher.search(&file, query).context("SEARCH")?;
            require!(
                matches!(hits, [hit] if hit.distance == 0 && hit.row == row as u64),
                "row {row} was stored before an fsync by io_submit and is not found: {hits:?}"
            );
        }
        submit_sync(&file)?.wait()
    });
    bound.stop();
    outcome
}

/// Who may only read a file can submit an fsync of it as often as he likes. If it published what
/// somebody else's mapping has stored, the next search would wait for the ATTACH.
pub(super) fn readers_publish_nothing(context: &Context) -> Result<(), Failure> {
    let bound = ReplyBound::start(context.emulated());
    let beside = |path: &Path| {
        let searching = started(path, Act::Search, None)?;
        let says = |word: &str, limit| {
            wait_for(format!("a search that is {word}"), limit, || {
                Ok(searching.said()?.contains(word).then_some(()))
            })
        };
        says("begun", LIMIT)?;
        let granted = bound.now();
        says("answered", granted).context(
            "somebody who may only read the file submitted an fsync of it beside an ATTACH",
        )?;
        searching.finish(LIMIT)?.must_succeed("the search")
    };
    let outcome = beside_a_build(beside, |_| Ok(()));
    bound.stop();
    outcome
}

/// Writers that wait for the build do not yet have the memory that they copy their data into.
pub(super) fn waiting_writers_hold_nothing(context: &Context) -> Result<(), Failure> {
    let beside = |path: &Path| {
        let cgroup = MemoryCgroup::new()?;
        let writing = started(path, Act::Write, Some(&cgroup))?;
        let pid = writing.pid();
        let mut looks = 0;
        wait_for("all writers to wait", LIMIT, || {
            require!(writing.ended()?.is_none(), "the writers ended: {}", writing.said()?);
            // One that has not come as far may sleep for a moment, too.
            looks = if waiting(pid.as_raw())? == WRITERS { looks + 1 } else { 0 };
            Ok((looks == LOOKS).then_some(()))
        })?;
        let held = cgroup.kernel_memory();
        writing.kill();
        writing.finish(LIMIT)?;
        let held = held?;
        context.fact("kernel memory of the waiting writers, bytes", held)?;
        let most = WRITERS as u64 * THREADS_OWN;
        require!(
            held <= most,
            "{WRITERS} writers wait for an ATTACH, and the kernel uses {held} bytes for them, more \
             than {most}"
        );
        Ok(())
    };
    beside_a_build(beside, |_| Ok(()))
}

/// How many threads of a process wait, apart from its first, which waits for them.
fn waiting(pid: i32) -> Result<usize, Failure> {
    let tasks = format!("/proc/{pid}/task");
    let first = pid.to_string();
    let mut waiting = 0;
    for task in fs::read_dir(&tasks).context(tasks)? {
        let task = task?;
        // A thread may have ended since it was listed.
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let waits = state.starts_with(['D', 'S']) && task.file_name() != first.as_str();
        waiting += usize::from(waits);
    }
    Ok(waiting)
}

/// Builds the index, or changes the file until it is killed.
///
/// # Errors
/// Any failure other than being killed.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: Order = serde_json::from_str(order).context("parsing the order")?;
    let file = opened(&order.path)?;
    match order.act {
        Act::Build => {
            let graph = Declaration {
                kind: Kind::Hnsw,
                index: BUILT,
                params: SLOW,
                ..Declaration::flat(DIM)
            };
            attach(&file, &graph).context("ATTACH")?;
            Ok(())
        }
        Act::Sync => {
            let rows = values(true);
            let bytes = dataset::bytes(&rows);
            let mapping = Mapping::shared(&file, bytes.len()).context("mmap")?;
            mapping.store(0, bytes);
            let _submitted = submit_sync(&file)?;
            println!("submitted");
            loop {
                thread::park();
            }
        }
        Act::Search => {
            // In one process: whatever it started would have the mapping, too, and unmap it.
            let rows = values(true);
            let bytes = dataset::bytes(&rows);
            let mapping = Mapping::shared(&file, bytes.len()).context("mmap")?;
            mapping.store(0, bytes);
            submit_sync(&File::open(&order.path)?)?.wait()?;
            println!("begun");
            let mut searcher = Searcher::new(DIM, 1, THERE)?;
            searcher.search(&file, &values(false)[..DIM as usize]).context("SEARCH")?;
            println!("answered");
            Ok(())
        }
        Act::Write => write_together(&file),
    }
}

/// Writes the same bytes from many threads.
fn write_together(file: &File) -> Result<(), Failure> {
    let bytes = vec![0; WRITTEN];
    thread::scope(|threads| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let writer = thread::Builder::new().stack_size(THREADS_STACK);
                writer.spawn_scoped(threads, || file.write_all_at(&bytes, 0))
            })
            .collect::<Result<_, _>>()
            .context("starting a writer")?;
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(written) => written.context("write"),
            Err(_) => Err(Failure::new("a writer panicked")),
        })
    })
}
