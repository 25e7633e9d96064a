//! Memory failure under a page of a file: reads and writes of the page must give EIO, as on tmpfs,
//! and neither stale bytes nor zeros.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homes::filesystem::{Mapping, expect_errno, signal_of_reading};
use homes::kernel::{KernelLog, KernelMount, ModuleFile};
use machine::child::Running;
use machine::failure::{Failure, WithContext};
use machine::{part, require};
use measure::dataset::{self, Dataset};
use nix::fcntl::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};
use vexfs_uapi::client::{Declaration, Searcher, attach};

use crate::trial::Context;

/// The child process in whose memory a page fails.
pub const PART: &str = "memory";
/// Limit for the child, which takes only a moment.
const LIMIT: Duration = Duration::from_secs(60);
const PAGE: usize = 4096;
const DIM: usize = 16;
const ROW: usize = DIM * size_of::<f32>();
const ROWS_OF_A_PAGE: usize = PAGE / ROW;
const PAGES: usize = 8;
/// A page that was only read through a mapping, and one that was stored into as well.
const READ: usize = 2;
const STORED: usize = 5;

/// What the kernel logs for a page that fails, and nothing else. The page stays in the page cache,
/// which the kernel reports as a failure for all file systems but its own.
const SAID: [&str; 3] = [
    "Injecting memory failure for pfn",
    "LRU page still referenced by 1 users",
    "recovery action for dirty unevictable LRU page: Failed",
];

/// Newer kernels also log which process they have signalled.
const SIGNALLED: &str = "due to hardware memory corruption";

pub(super) fn is_an_error(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let data = Dataset::generate(23, PAGES * ROWS_OF_A_PAGE, DIM, 1);
    let path = mount.path().join("base.f32");
    std::fs::write(&path, dataset::bytes(&data.base))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    attach(&file, &Declaration::flat(DIM as u32)).context("ATTACH")?;
    let mut log = KernelLog::from_now()?;
    log.read()?;

    for page in [READ, STORED] {
        let stored = if page == STORED { data.row(0) } else { &[] };
        fail_memory(&path, page, stored)?;
        if page == STORED {
            expect_errno(file.sync_all(), libc::EIO, "fsync of rows whose memory has failed")?;
        }
        requests_fail(&file, &data, page)?;
        let row = data.row(page * ROWS_OF_A_PAGE + 1);
        if page == READ {
            // The index has copies of the rows, and has not learned of any change.
            expect_nearest(&file, row, page * ROWS_OF_A_PAGE + 1)?;
        } else {
            // The stored rows are lost, and the index cannot learn of them.
            let found = Searcher::new(DIM as u32, 1, 0)?.search(&file, row).map(<[_]>::to_vec);
            expect_errno(found, libc::EIO, "SEARCH for rows whose memory has failed")?;
        }
    }
    said_no_more(context, &mut log)?;

    // After a hole is punched, the page gets new memory.
    for page in [READ, STORED] {
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&file, how, (page * PAGE) as i64, PAGE as i64).context("punching the page")?;
        let mut bytes = [1; PAGE];
        file.read_exact_at(&mut bytes, (page * PAGE) as u64).context("reading the hole")?;
        require!(bytes == [0; PAGE], "a hole in place of failed memory is not zeros");
    }
    for page in [READ, STORED] {
        let row = page * ROWS_OF_A_PAGE + 1;
        file.write_all_at(dataset::bytes(data.row(row)), (row * ROW) as u64)
            .context("writing where memory had failed")?;
        expect_nearest(&file, data.row(row), row)?;
    }
    drop(file);
    mount.unmount()?;
    loaded.unload()
}

/// The child's order: the page whose memory fails, and what to store there before.
#[derive(Serialize, Deserialize)]
struct FaultOrder {
    path: PathBuf,
    page: usize,
    stored: Vec<f32>,
}

/// Lets the memory of `page` fail for a process that has it mapped and has stored `stored` into it.
fn fail_memory(path: &Path, page: usize, stored: &[f32]) -> Result<(), Failure> {
    let order = FaultOrder { path: path.to_owned(), page, stored: stored.to_vec() };
    let ended = Running::start(&mut part::command(PART, &order)?)?.finish(LIMIT)?;
    // The process that has the page mapped gets SIGBUS at once or on its next access.
    require!(
        ended.status.success() || ended.status.signal() == Some(libc::SIGBUS),
        "the process whose memory failed ended with {}: {}",
        ended.status,
        ended.tail()
    );
    Ok(())
}

/// Tells the kernel that a page of the mapping has failed.
///
/// # Errors
/// The kernel refuses that, or the preparation fails.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: FaultOrder = serde_json::from_str(order).context("parsing the order")?;
    let file = OpenOptions::new().read(true).write(true).open(&order.path)?;
    let mapping = Mapping::shared(&file, PAGES * PAGE)?;
    mapping.load(order.page * PAGE, 1);
    if !order.stored.is_empty() {
        mapping.store(order.page * PAGE, dataset::bytes(&order.stored));
    }
    let page: *mut c_void = mapping.address(order.page * PAGE).cast();
    // SAFETY: `page` begins a page of the mapping, of which nobody holds a reference; nothing is
    // read from or stored into it afterwards.
    let failed = unsafe { libc::madvise(page, PAGE, libc::MADV_HWPOISON) };
    match io::Error::last_os_error() {
        _ if failed == 0 => Ok(()),
        // EBUSY, because the page stays in the page cache.
        error if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        error => Err(error).context("madvise(MADV_HWPOISON)"),
    }
}

/// Checks that reading, writing and mapping `page` fails, and that the pages beside it are intact.
fn requests_fail(file: &File, data: &Dataset, page: usize) -> Result<(), Failure> {
    let what = "of a page whose memory has failed";
    let mut bytes = [0; ROW];
    let read = file.read_at(&mut bytes, (page * PAGE + 8) as u64);
    expect_errno(read, libc::EIO, &format!("read(2) {what}"))?;
    let row = data.row(page * ROWS_OF_A_PAGE);
    let written = file.write_at(dataset::bytes(row), (page * PAGE) as u64);
    expect_errno(written, libc::EIO, &format!("write(2) {what}"))?;
    let declaration = Declaration { index: 1, ..Declaration::flat(DIM as u32) };
    expect_errno(attach(file, &declaration), libc::EIO, &format!("ATTACH {what}"))?;
    let mapping = Mapping::shared(file, PAGES * PAGE)?;
    let signal = signal_of_reading(mapping.address(page * PAGE))?;
    require!(signal == Some(libc::SIGBUS), "reading a mapping {what}: signal {signal:?}");
    for beside in [page - 1, page + 1] {
        let row = beside * ROWS_OF_A_PAGE;
        file.read_exact_at(&mut bytes, (row * ROW) as u64).context("reading a page beside it")?;
        require!(bytes == dataset::bytes(data.row(row)), "the bytes of page {beside} have changed");
    }
    Ok(())
}

fn expect_nearest(file: &File, query: &[f32], row: usize) -> Result<(), Failure> {
    let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
    let hits = searcher.search(file, query).context("SEARCH")?;
    let found = matches!(hits, [hit] if hit.row == row as u64 && hit.distance == 0);
    require!(found, "row {row} is not found, the search gave {hits:?}");
    Ok(())
}

/// Checks that the kernel has logged the two failures, and nothing else.
fn said_no_more(context: &Context, log: &mut KernelLog) -> Result<(), Failure> {
    let said: Vec<String> = log.read()?.records.into_iter().map(|one| one.text).collect();
    context.fact("the kernel said", &said)?;
    let (signalled, told): (Vec<&String>, Vec<&String>) =
        said.iter().partition(|one| one.contains(SIGNALLED));
    let due = [SAID, SAID].concat();
    let as_due = signalled.len() <= 2
        && told.len() == due.len()
        && told.iter().zip(due).all(|(one, due)| one.contains(due));
    require!(as_due, "unexpected kernel log after two pages of memory failed: {said:#?}");
    Ok(())
}
