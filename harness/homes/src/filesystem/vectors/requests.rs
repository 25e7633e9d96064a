//! Requests that are refused, with the errnos of docs/contract.md in their order.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use vexfs_uapi::client::{Declaration, attach, detach, stats};
use vexfs_uapi::{
    ABI_VERSION, Attach, Detach, Hit, IOC_ATTACH, IOC_DETACH, IOC_MAX_SIZE, IOC_STATS, Kind,
    MAX_DIM, MAX_INDEXES, MAX_K, Metric, STATS_SIZE_0, Search, Stats, ioc_read_write, ioc_search,
    search_size,
};

use super::file::{DIM, K, declaration, expect_current, indexed, small, vector_file, write_row};
use crate::filesystem::expect::expect_errno;
use crate::filesystem::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    bad_attaches_are_refused,
    bad_detaches_and_stats_are_refused,
    bad_searches_are_refused,
    rights_come_before_what_is_asked,
    unknown_requests_are_no_ttys,
    bad_addresses_are_refused,
];

/// A request, and memory for the largest request that a number can encode.
struct RawRequest {
    number: u32,
    memory: Box<[u64; IOC_MAX_SIZE.div_ceil(size_of::<u64>())]>,
}

impl RawRequest {
    /// The request `number` with `header` at its beginning, followed by zeros.
    fn new<T: Copy>(number: u32, header: T) -> RawRequest {
        const { assert!(size_of::<T>() <= IOC_MAX_SIZE && align_of::<T>() <= align_of::<u64>()) }
        let mut memory = Box::new([0; _]);
        // SAFETY: the memory is aligned for `T` and holds one.
        unsafe { memory.as_mut_ptr().cast::<T>().write(header) };
        RawRequest { number, memory }
    }

    fn attach(change: impl FnOnce(&mut Attach)) -> RawRequest {
        let mut header = Attach {
            version: ABI_VERSION,
            dim: DIM as u32,
            metric: Metric::L2 as u32,
            kind: Kind::Flat as u32,
            index: 1,
            ..Attach::default()
        };
        change(&mut header);
        RawRequest::new(IOC_ATTACH, header)
    }

    fn detach(change: impl FnOnce(&mut Detach)) -> RawRequest {
        let mut header = Detach { version: ABI_VERSION, ..Detach::default() };
        change(&mut header);
        RawRequest::new(IOC_DETACH, header)
    }

    fn stats(change: impl FnOnce(&mut Stats)) -> RawRequest {
        let mut header = Stats { version: ABI_VERSION, ..Stats::default() };
        change(&mut header);
        RawRequest::new(IOC_STATS, header)
    }

    /// A search request of `size` bytes, for the neighbours of a query of zeros.
    fn search(size: usize, change: impl FnOnce(&mut Search)) -> RawRequest {
        let mut header =
            Search { version: ABI_VERSION, dim: DIM as u32, k: K, ..Search::default() };
        change(&mut header);
        RawRequest::new(ioc_search(size), header)
    }

    /// Puts `value` at component `at` of the queries.
    fn with_component(mut self, at: usize, value: f32) -> RawRequest {
        let payload = size_of::<Search>() / size_of::<f32>();
        assert!(payload + at < self.memory.len() * 2);
        // SAFETY: within the memory, which is aligned for more than an f32.
        unsafe { self.memory.as_mut_ptr().cast::<f32>().add(payload + at).write(value) };
        self
    }

    fn send(&mut self, file: impl AsFd) -> io::Result<()> {
        let argument = self.memory.as_mut_ptr();
        // SAFETY: the memory is at least as large as any size that the number can encode.
        unsafe { ioctl(file, self.number, argument.cast()) }
    }
}

/// # Safety
/// `argument` must point to as many writable bytes as `number` encodes, or to no memory at all.
unsafe fn ioctl(file: impl AsFd, number: u32, argument: *mut libc::c_void) -> io::Result<()> {
    let descriptor = file.as_fd().as_raw_fd();
    // SAFETY: by the caller's promise the request stays within `argument`.
    match unsafe { libc::ioctl(descriptor, number as libc::Ioctl, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sends each request and expects its errno; the index must be unchanged afterwards.
fn all_refused(
    file: &File,
    cases: impl IntoIterator<Item = (&'static str, i32, RawRequest)>,
) -> Result<(), Failure> {
    let before = stats(file, 0).context("STATS")?;
    for (what, errno, mut request) in cases {
        expect_errno(request.send(file), errno, what)?;
    }
    let after = stats(file, 0).context("STATS")?;
    require!(before == after, "refused requests changed {before:?} to {after:?}");
    let taken = (1..MAX_INDEXES).find(|&slot| stats(file, slot).is_ok());
    require!(taken.is_none(), "a refused request left an index in slot {taken:?}");
    expect_current(file, 0, true)
}

fn bad_attaches_are_refused(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 50])?;
    let bad = |what, change: fn(&mut Attach)| (what, libc::EINVAL, RawRequest::attach(change));
    all_refused(
        &file,
        [
            bad("version 0", |a| a.version = 0),
            bad("a later version", |a| a.version += 1),
            bad("a flag", |a| a.flags = 1),
            bad("dim 0", |a| a.dim = 0),
            bad("a larger dim", |a| a.dim = MAX_DIM + 1),
            bad("metric 0", |a| a.metric = 0),
            bad("metric 4", |a| a.metric = 4),
            bad("kind 0", |a| a.kind = 0),
            bad("kind 6", |a| a.kind = 6),
            bad("slot 8", |a| a.index = MAX_INDEXES),
            bad("the last slot there could be", |a| a.index = u32::MAX),
            bad("a parameter out of its range", |a| {
                (a.kind, a.params[0]) = (Kind::Hnsw as u32, u32::MAX);
            }),
            bad("bits that PQ does not have", |a| (a.kind, a.params[1]) = (Kind::Pq as u32, 5)),
            ("a slot in use", libc::EEXIST, RawRequest::attach(|a| a.index = 0)),
            // Errors in the request itself are checked before the slots.
            bad("a slot in use and a flag", |a| (a.index, a.flags) = (0, 1)),
        ],
    )?;
    // The rows are checked last, after the slot.
    let elsewhere = dir.join("elsewhere");
    fs::create_dir(&elsewhere)?;
    let odd = vector_file(&elsewhere, &[1.0; 3 * DIM])?;
    write_row(&odd, 1, &[f32::INFINITY; DIM])?;
    expect_errno(attach(&odd, &declaration()), libc::EINVAL, "a file with a row of infinities")?;
    write_row(&odd, 1, &[1e19; DIM])?;
    expect_errno(attach(&odd, &declaration()), libc::EINVAL, "a file with a row out of range")?;
    write_row(&odd, 1, &[1.0; DIM])?;
    attach(&odd, &declaration()).context("ATTACH where all rows are in range again")?;
    expect_current(&odd, 0, true)
}

fn bad_detaches_and_stats_are_refused(dir: &Path) -> Result<(), Failure> {
    let file = indexed(dir, &small().base[..DIM * 50])?;
    let detach = |what, errno, change: fn(&mut Detach)| (what, errno, RawRequest::detach(change));
    let stats = |what, errno, change: fn(&mut Stats)| (what, errno, RawRequest::stats(change));
    all_refused(
        &file,
        [
            detach("DETACH of version 0", libc::EINVAL, |d| d.version = 0),
            detach("DETACH with a flag", libc::EINVAL, |d| d.flags = 1 << 31),
            detach("DETACH with something reserved", libc::EINVAL, |d| d.reserved = 1),
            detach("DETACH of slot 8", libc::EINVAL, |d| d.index = MAX_INDEXES),
            detach("DETACH of an empty slot", libc::ENOENT, |d| d.index = 7),
            detach("DETACH of an empty slot with a flag", libc::EINVAL, |d| {
                (d.index, d.flags) = (7, 1);
            }),
            stats("STATS of version 2", libc::EINVAL, |s| s.version = 2),
            stats("STATS with a flag", libc::EINVAL, |s| s.flags = 1),
            stats("STATS of slot 8", libc::EINVAL, |s| s.index = MAX_INDEXES),
            stats("STATS of an empty slot", libc::ENOENT, |s| s.index = 1),
        ],
    )
}

fn bad_searches_are_refused(dir: &Path) -> Result<(), Failure> {
    let file = indexed(dir, &small().base[..DIM * 50])?;
    let size = search_size(1, DIM, K as usize);
    let bad =
        |what, change: fn(&mut Search)| (what, libc::EINVAL, RawRequest::search(size, change));
    let of_size = |what, size, change: fn(&mut Search)| {
        (what, libc::EINVAL, RawRequest::search(size, change))
    };
    let ok = |_: &mut Search| {};
    all_refused(
        &file,
        [
            bad("version 0", |s| s.version = 0),
            bad("a flag", |s| s.flags = 1),
            bad("slot 8", |s| s.index = MAX_INDEXES),
            bad("dim 0", |s| s.dim = 0),
            bad("k 0", |s| s.k = 0),
            of_size("a larger k", IOC_MAX_SIZE, |s| s.k = MAX_K + 1),
            of_size("a larger dim", IOC_MAX_SIZE, |s| s.dim = MAX_DIM + 1),
            bad("two queries in the payload of one", |s| s.queries = 2),
            bad("more queries than there are bytes", |s| s.queries = u32::MAX),
            bad("queries whose size overflows", |s| (s.queries, s.dim) = (1 << 30, 4)),
            of_size("no room for the hits", size - 1, ok),
            of_size("no room for the query", size_of::<Search>() + DIM * 4 - 1, |s| s.k = 1),
            of_size("no payload", size_of::<Search>(), ok),
            of_size("half a header", size_of::<Search>() / 2, ok),
            of_size("no size", 0, ok),
            ("an empty slot", libc::ENOENT, RawRequest::search(size, |s| s.index = 1)),
            bad("an empty slot and a flag", |s| (s.index, s.flags) = (1, 1)),
            // Checks that depend on the index come after finding it.
            ("another dim and an empty slot", libc::ENOENT, {
                RawRequest::search(size, |s| (s.index, s.dim) = (1, 8))
            }),
            bad("another dim", |s| s.dim -= 1),
            ("NaN and an empty slot", libc::ENOENT, {
                RawRequest::search(size, |s| s.index = 1).with_component(0, f32::NAN)
            }),
            ("NaN", libc::EINVAL, RawRequest::search(size, ok).with_component(DIM - 1, f32::NAN)),
            ("an infinity in the last of three queries", libc::EINVAL, {
                RawRequest::search(search_size(3, DIM, K as usize), |s| s.queries = 3)
                    .with_component(3 * DIM - 1, f32::NEG_INFINITY)
            }),
        ],
    )?;
    let before = stats(&file, 0)?.searches;
    // 0 means one query, and bytes after the queries are ignored.
    for queries in [0, 1] {
        let mut one = RawRequest::search(size, |s| s.queries = queries);
        one.with_component(DIM, f32::NAN).send(&file).context("a search like those refused")?;
        one = RawRequest::search(IOC_MAX_SIZE, |s| (s.queries, s.param) = (queries, u32::MAX));
        one.send(&file).context("a search with the largest payload and parameter")?;
    }
    let searches = stats(&file, 0)?.searches - before;
    require!(searches == 4, "4 searches are counted as {searches}");
    Ok(())
}

fn rights_come_before_what_is_asked(dir: &Path) -> Result<(), Failure> {
    let file = indexed(dir, &small().base[..DIM * 50])?;
    let path = dir.join("base.f32");
    let read_only = File::open(&path)?;
    let write_only = OpenOptions::new().write(true).open(&path)?;
    let no_rights = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path)?;
    let size = search_size(1, DIM, K as usize);
    let requests = || {
        // Valid and invalid requests: the descriptor is checked first in either case.
        [
            ("ATTACH", &read_only, RawRequest::attach(|_| ())),
            ("ATTACH of no version", &read_only, RawRequest::attach(|a| a.version = 0)),
            ("DETACH", &read_only, RawRequest::detach(|_| ())),
            ("DETACH of an empty slot", &read_only, RawRequest::detach(|d| d.index = 5)),
            ("SEARCH", &write_only, RawRequest::search(size, |_| ())),
            ("SEARCH of no version", &write_only, RawRequest::search(size, |s| s.version = 0)),
            ("STATS", &write_only, RawRequest::stats(|_| ())),
            ("STATS of an empty slot", &write_only, RawRequest::stats(|s| s.index = 5)),
        ]
    };
    for (what, file, mut request) in requests() {
        expect_errno(request.send(file), libc::EBADF, &format!("{what} without the right"))?;
        expect_errno(request.send(&no_rights), libc::EBADF, &format!("{what} by O_PATH"))?;
    }
    expect_current(&read_only, 0, true).context("searched by a descriptor for reading")?;
    let other = Declaration { index: 1, ..declaration() };
    attach(&write_only, &other).context("ATTACH by a descriptor for writing")?;
    detach(&write_only, 1).context("DETACH by a descriptor for writing")?;
    expect_current(&file, 0, true)
}

fn unknown_requests_are_no_ttys(dir: &Path) -> Result<(), Failure> {
    let file = indexed(dir, &small().base[..DIM * 50])?;
    let numbers = [
        ("number 5", ioc_read_write(5, 16)),
        ("number 0", ioc_read_write(0, 16)),
        ("ATTACH of another size", ioc_read_write(1, size_of::<Attach>() + 8)),
        ("STATS of no size", ioc_read_write(4, 0)),
        ("STATS of less than its first size", ioc_read_write(4, STATS_SIZE_0 - 8)),
        ("DETACH that only reads", (IOC_DETACH & !(3 << 30)) | 2 << 30),
        ("SEARCH that only writes", (ioc_search(400) & !(3 << 30)) | 1 << 30),
        ("ATTACH of another magic", IOC_ATTACH ^ 0x100),
        ("TCGETS", 0x5401),
    ];
    let read_only = File::open(dir.join("base.f32"))?;
    for (what, number) in numbers {
        let mut request = RawRequest::new(number, [0_u64; 8]);
        expect_errno(request.send(&file), libc::ENOTTY, what)?;
        expect_errno(request.send(&read_only), libc::ENOTTY, what)?;
    }
    let size = search_size(1, DIM, K as usize);
    let known = || {
        [
            ("ATTACH", RawRequest::attach(|_| ())),
            ("DETACH", RawRequest::detach(|_| ())),
            ("SEARCH", RawRequest::search(size, |_| ())),
            ("STATS", RawRequest::stats(|_| ())),
        ]
    };
    let elsewhere = tempfile::tempdir()?;
    fs::write(elsewhere.path().join("base.f32"), dataset::bytes(&small().base))?;
    let elsewhere =
        OpenOptions::new().read(true).write(true).open(elsewhere.path().join("base.f32"))?;
    for (what, mut request) in known() {
        let directory = File::open(dir)?;
        expect_errno(request.send(&directory), libc::ENOTTY, &format!("{what} on a directory"))?;
        expect_errno(request.send(&elsewhere), libc::ENOTTY, &format!("{what} elsewhere"))?;
    }
    expect_current(&file, 0, true)
}

/// Address 0, and memory that ends too early.
fn bad_addresses_are_refused(dir: &Path) -> Result<(), Failure> {
    let file = indexed(dir, &small().base[..DIM * 50])?;
    let size = search_size(1, DIM, K as usize);
    let page = crate::filesystem::mapped::LastPage::new()?;
    let requests = [
        RawRequest::attach(|_| ()),
        RawRequest::detach(|d| d.index = 5),
        RawRequest::search(size, |_| ()),
        RawRequest::stats(|_| ()),
    ];
    for request in &requests {
        let size = (request.number >> 16) as usize & IOC_MAX_SIZE;
        // SAFETY: there is no memory at address 0, and the kernel reports that.
        let null = unsafe { ioctl(&file, request.number, std::ptr::null_mut()) };
        expect_errno(null, libc::EFAULT, &format!("{:#x} at address 0", request.number))?;
        let bytes: Vec<u8> = request.memory.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let start = page.put_at_end(&bytes[..size - 4]);
        // SAFETY: the last bytes would be after the page, where there is no memory, and the kernel
        // reports that.
        let cut = unsafe { ioctl(&file, request.number, start.cast()) };
        expect_errno(cut, libc::EFAULT, &format!("{:#x}, cut off", request.number))?;
    }
    expect_errno(stats(&file, 1), libc::ENOENT, "STATS after a refused ATTACH")?;
    write_row(&file, 0, &[0.25; DIM])?;
    let hits = super::file::nearest(&file, &[0.25; DIM], 1)?;
    require!(hits == [Hit::default()], "{hits:?}, expected row 0");
    expect_current(&file, 0, true)
}
