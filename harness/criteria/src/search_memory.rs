//! The kernel memory of searches on a mount: one user's expensive searches leave memory for other
//! users, and each search is charged to its caller's memory cgroup.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use homes::filesystem::{NOBODY, SOMEBODY, as_user};
use homes::kernel::{KernelMount, MemoryCgroup, ModuleFile};
use machine::child::Supervised;
use machine::failure::{Failure, WithContext};
use machine::require;
use machine::under_test::Program;
use measure::dataset::{self, Dataset};
use serde_json::json;
use vexfs_uapi::client::{Declaration, Searcher, attach};
use vexfs_uapi::{Home, Kind};

use crate::busy::open_to_all;
use crate::trial::Context;
use crate::watched::own_knows_requests;

const DIM: u32 = 8;
/// More rows than an expensive search refines; with fewer it would be an exact search of all rows.
const ROWS: usize = 70_000;
const BITS: u32 = 64;
/// An expensive search refines `K * REFINE` candidates, which take a mebibyte, the most that a
/// search keeps. With its other memory that is more than the amount that any user may always have.
const K: u32 = 60;
const REFINE: u32 = 1_092;
/// Queries of the process whose cgroup is watched: seconds of work, on an emulated CPU.
const QUERIES: usize = 60;
const MEBIBYTE: u64 = 1 << 20;
/// Searches may take a quarter of the mount's size, and one user alone half of that: eight such
/// searches.
const MOUNT: &str = "size=64M";
/// Concurrent searches of one user: more than there is memory for.
const AT_ONCE: usize = 16;
/// Expensive searches of another user meanwhile.
const OTHERS: usize = 8;
/// Limit for all of them on an emulated CPU.
const LIMIT: Duration = Duration::from_secs(300);

/// Makes a file that anybody may read, with an index whose searches can be made expensive.
fn file(root: &Path) -> Result<(PathBuf, Dataset), Failure> {
    let path = root.join("base.f32");
    let data = Dataset::generate(41, ROWS, DIM as usize, QUERIES);
    fs::write(&path, dataset::bytes(&data.base))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let params = [BITS, 0, 0, 0, 0, 0, 0, 0];
    let lsh = Declaration { kind: Kind::Lsh, params, ..Declaration::flat(DIM) };
    attach(&file, &lsh).context("ATTACH")?;
    fs::set_permissions(&path, Permissions::from_mode(0o644)).context("chmod of the file")?;
    Ok((path, data))
}

/// Searches once; `param` makes it expensive. Returns whether there was memory for it.
fn search(file: &File, query: &[f32], param: u32) -> io::Result<bool> {
    let mut searcher = Searcher::new(DIM, K, 0)?.with_param(param);
    match searcher.search(file, query) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What became of the searches of the user who takes all memory that he can have.
#[derive(Default)]
struct Greedy {
    answered: AtomicUsize,
    refused: AtomicUsize,
    over: AtomicBool,
}

impl Greedy {
    /// Searches until `over` is set.
    fn search(&self, path: &Path, query: &[f32]) -> Result<(), Failure> {
        let file = File::open(path)?;
        while !self.over.load(Ordering::Relaxed) {
            if search(&file, query, REFINE).context("an expensive search")? {
                self.answered.fetch_add(1, Ordering::Relaxed);
            } else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
        }
        Ok(())
    }
}

/// One user runs more expensive searches than there is memory for. Meanwhile the expensive and
/// modest searches of another user must be answered.
pub(super) fn a_user_has_a_share(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new(MOUNT)?;
    own_knows_requests(Home::Kernel, mount.path())?;
    open_to_all(mount.path())?;
    let (path, data) = file(mount.path())?;
    let query = &data.queries[..DIM as usize];

    let greedy = Greedy::default();
    let (path, greedy_ref) = (&path, &greedy);
    let others = thread::scope(|threads| {
        let searching: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                threads.spawn(move || as_user(NOBODY, NOBODY, || greedy_ref.search(path, query)))
            })
            .collect();
        let others = as_user(SOMEBODY, SOMEBODY, || others(path, query, greedy_ref));
        greedy_ref.over.store(true, Ordering::Relaxed);
        let ended = searching.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::new("a thread that searches panicked")))
        });
        ended.and(others)
    });
    others?;
    let (answered, refused) =
        (greedy.answered.load(Ordering::Relaxed), greedy.refused.load(Ordering::Relaxed));
    context.fact(
        "searches",
        json!({"one user's": {"answered": answered, "refused": refused}, "another's": 2 * OTHERS}),
    )?;
    mount.unmount()?;
    loaded.unload()
}

/// Searches as another user, each time after the first user has been refused again.
fn others(path: &Path, query: &[f32], greedy: &Greedy) -> Result<(), Failure> {
    let file = File::open(path)?;
    let deadline = Instant::now() + LIMIT;
    for number in 0..OTHERS {
        let refused = greedy.refused.load(Ordering::Relaxed);
        while greedy.refused.load(Ordering::Relaxed) == refused {
            require!(
                Instant::now() < deadline,
                "none of one user's {AT_ONCE} expensive searches at once is refused any more, on a \
                 mount of {MOUNT}: {} answered, {refused} refused so far",
                greedy.answered.load(Ordering::Relaxed)
            );
            thread::yield_now();
        }
        for (what, param) in [("a modest", 1), ("an expensive", REFINE)] {
            require!(
                search(&file, query, param).context("another user's search")?,
                "{what} search of another user fails with ENOMEM while one user's searches use all \
                 the memory that one user may have (number {number})"
            );
        }
    }
    Ok(())
}

/// A process in a cgroup of its own sends the same queries, modest and expensive. The cgroup must
/// be charged for the difference.
pub(super) fn counts_in_the_searchers_cgroup(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new(MOUNT)?;
    own_knows_requests(Home::Kernel, mount.path())?;
    let (path, data) = file(mount.path())?;
    let directory = tempfile::tempdir()?;
    let queries = directory.path().join("queries.fvecs");
    let vectors = data.queries.chunks_exact(DIM as usize);
    let vectors =
        vectors.flat_map(|query| [&DIM.to_le_bytes()[..], dataset::bytes(query)].concat());
    fs::write(&queries, vectors.collect::<Vec<u8>>())?;
    let most_of = |param| most_charged(&path, &queries, param);
    let (modest, expensive) = (most_of(1)?, most_of(REFINE)?);
    context.fact("kernel memory of a cgroup", json!({"modest": modest, "expensive": expensive}))?;
    require!(
        expensive.saturating_sub(modest) >= MEBIBYTE / 4 * 3,
        "searches that keep a mebibyte of candidates count {expensive} bytes at most in their \
         caller's cgroup, modest ones {modest}"
    );
    mount.unmount()?;
    loaded.unload()
}

/// The most kernel memory that a process is charged for while it sends all queries.
fn most_charged(path: &Path, queries: &Path, param: u32) -> Result<u64, Failure> {
    let cgroup = MemoryCgroup::new()?;
    let mut command = Command::new(Program::Vexctl.build_if_missing()?);
    command.arg("search").arg(path).arg("--queries").arg(queries).args(["-k", &K.to_string()]);
    command.args(["--param", &param.to_string()]).stdout(Stdio::null());
    cgroup.joins(&mut command)?;
    let searching = Supervised::start("vexctl search", &mut command)?;
    let deadline = Instant::now() + LIMIT;
    let mut most = 0;
    let status = loop {
        if let Some(status) = searching.ended()? {
            break status;
        }
        most = most.max(cgroup.kernel_memory()?);
        require!(Instant::now() < deadline, "vexctl search is not done in {} s", LIMIT.as_secs());
        thread::yield_now();
    };
    require!(status.success(), "vexctl search: {status}");
    Ok(most)
}
