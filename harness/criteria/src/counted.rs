//! What a home takes of the machine's memory is what it counts.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use homes::Mounted;
use homes::filesystem::contract;
use homes::kernel::{KernelMount, ModuleFile};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::require;
use nix::sys::statvfs::statvfs;
use rustix::fs::{XattrFlags, renameat, setxattr};
use serde_json::json;
use vexfs_uapi::client::{Declaration, attach, detach};
use vexfs_uapi::{Home, Kind};

use crate::adversary::{Standing, used_bytes};
use crate::trial::Context;
use crate::watched::own_knows_requests;

/// A row of a piece more than half of a power of two of pages, where rows lie eight together.
const DIM: u32 = 1_025;
const ROWS: u64 = 1_600;
const SLOTS: u32 = 8;
/// Values of the largest size an attribute may have, which comes with its name to a little more than
/// a power of two.
const VALUES: usize = 400;
const VALUE: usize = 64 << 10;
/// What the rest of the machine may take meanwhile, KiB.
const NOISE_KIB: u64 = 8 << 10;

/// Memory that the machine can give, KiB.
fn available_kib() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let word = line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    word.parse().context("MemAvailable in /proc/meminfo")
}

/// What a mount counts, KiB.
fn counted_kib(root: &Path) -> Result<u64, Failure> {
    let stat = statvfs(root).context("statfs")?;
    Ok(used_bytes(&stat) / 1024)
}

/// What `work` makes the kernel take and the mount count, KiB: no more than a seventh more than that.
fn weighed(
    context: &Context,
    what: &str,
    root: &Path,
    work: impl FnOnce() -> Result<u64, Failure>,
) -> Result<(), Failure> {
    let before = (available_kib()?, counted_kib(root)?);
    let least = work()?;
    let taken = before.0.saturating_sub(available_kib()?);
    let counted = counted_kib(root)?.saturating_sub(before.1);
    context.fact(what, json!({"taken_kib": taken, "counted_kib": counted, "least_kib": least}))?;
    require!(counted >= least, "{what}: {counted} KiB are counted, expected at least {least}");
    require!(
        taken <= counted + counted / 7 + NOISE_KIB,
        "{what}: free memory fell by {taken} KiB, but the mount counts only {counted} KiB"
    );
    Ok(())
}

/// Sizes of which an allocator of powers of two takes almost twice as much.
pub(super) fn a_mount_takes_what_it_counts(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=512M")?;
    own_knows_requests(Home::Kernel, mount.path())?;
    let root = mount.path();
    weighed(context, "eight indexes", root, || {
        let file = File::create_new(root.join("rows.f32"))?;
        file.set_len(ROWS * u64::from(DIM) * 4)?;
        for index in 0..SLOTS {
            let rows = attach(&file, &Declaration { index, ..Declaration::flat(DIM) });
            rows.context("ATTACH")?;
        }
        Ok(ROWS * u64::from(DIM * SLOTS) / 1024)
    })?;
    weighed(context, "extended attributes", root, || {
        let value = vec![0x5A; VALUE];
        for number in 0..VALUES {
            let path = root.join(number.to_string());
            File::create(&path)?;
            setxattr(&path, "user.value", &value, XattrFlags::empty()).context("setxattr")?;
        }
        Ok((VALUES * VALUE) as u64 / 1024)
    })?;
    mount.unmount()?;
    loaded.unload()
}

/// Names that are moved from directory to directory: those that they have left keep nothing.
pub(super) fn emptied_directories_keep_no_memory(context: &Context) -> Result<(), Failure> {
    /// Just so many that a hash table for them is half empty.
    const NAMES: usize = 3_600;
    const DIRECTORIES: usize = 50;
    /// What a daemon takes once, and keeps.
    const FIRST: usize = 10;
    const MOST_KIB: u64 = 5 << 10;
    let mounted = Mounted::new(Home::Fuse, "256M")?;
    let mut from = directory(mounted.path(), 0)?;
    let names: Vec<String> = (0..NAMES).map(|number| number.to_string()).collect();
    for name in &names {
        File::create(mounted.path().join("0").join(name))?;
    }
    let mut first = 0;
    for number in 1..=DIRECTORIES {
        let to = directory(mounted.path(), number)?;
        for name in &names {
            renameat(&from, name, &to, name).context("rename")?;
        }
        from = to;
        if number == FIRST {
            first = Standing::of_memory(&mounted)?.memory_kib;
        }
    }
    let last = Standing::of_memory(&mounted)?.memory_kib;
    context.fact("resident KiB", json!({"10 directories": first, "50 directories": last}))?;
    if last > first + MOST_KIB {
        return Err(contract::memory_kept(Failure::new(format!(
            "{NAMES} names were moved through {DIRECTORIES} directories: the daemon used {first} \
             KiB after {FIRST} directories and {last} KiB after all"
        ))));
    }
    drop(from);
    mounted.unmount()
}

/// Files, indexes and names: when all are gone the daemon holds about what it held before.
pub(super) fn removed_files_keep_no_memory(context: &Context) -> Result<(), Failure> {
    const FILES: usize = 4;
    /// Of each.
    const BYTES: usize = 48 << 20;
    const INDEXED: usize = 8_000;
    const DIM: u32 = 32;
    const NAMES: usize = 20_000;
    const KINDS: [Kind; 4] = [Kind::Hnsw, Kind::Flat, Kind::Ivf, Kind::Pq];
    /// What it may hold more: what is not worth giving back, and pages with something left on them.
    const MOST_KIB: u64 = 40 << 10;
    /// It gives memory back once that is free for a while.
    const SOON: Duration = Duration::from_secs(60);
    let mounted = Mounted::new(Home::Fuse, "512M")?;
    let root = mounted.path();
    own_knows_requests(Home::Fuse, root)?;
    let before = Standing::of_memory(&mounted)?.memory_kib;
    // Beside each other: what is taken by turns lies mixed.
    let make = |number: usize| -> Result<(), Failure> {
        fs::write(root.join(format!("large {number}")), vec![0x5A; BYTES])?;
        let name = root.join(format!("rows {number}"));
        let rows = (0..INDEXED * DIM as usize).map(|at| ((at * 7919) % 1_009) as f32);
        fs::write(&name, rows.flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;
        let file = File::options().read(true).write(true).open(&name)?;
        let declaration = Declaration { kind: KINDS[number], ..Declaration::flat(DIM) };
        attach(&file, &declaration).context("ATTACH")?;
        if number.is_multiple_of(2) {
            detach(&file, 0).context("DETACH")?;
        }
        for name in 0..NAMES / FILES {
            File::create(root.join(format!("{number} {name}")))?;
        }
        Ok(())
    };
    std::thread::scope(|threads| {
        let makers: Vec<_> = (0..FILES).map(|number| threads.spawn(move || make(number))).collect();
        makers.into_iter().try_for_each(|maker| match maker.join() {
            Ok(made) => made,
            Err(_) => Err(Failure::new("a thread that made files panicked")),
        })
    })?;
    let most = Standing::of_memory(&mounted)?.memory_kib;
    for entry in fs::read_dir(root)? {
        fs::remove_file(entry?.path())?;
    }
    let mut last = most;
    let given_back = wait_for("", SOON, || {
        last = Standing::of_memory(&mounted)?.memory_kib;
        Ok((last <= before + MOST_KIB).then_some(()))
    });
    context.fact("resident KiB", json!({"before": before, "most": most, "removed": last}))?;
    require!(
        most >= before + (FILES * BYTES / 1024) as u64,
        "the daemon used only {most} KiB with {FILES} files of {BYTES} bytes, {before} KiB without"
    );
    if given_back.is_err() {
        return Err(contract::memory_kept(Failure::new(format!(
            "the daemon uses {last} KiB after all files were removed: it used {before} KiB before \
             they were made, and {most} KiB with them"
        ))));
    }
    mounted.unmount()
}

fn directory(root: &Path, number: usize) -> Result<File, Failure> {
    let path = root.join(number.to_string());
    fs::create_dir(&path)?;
    Ok(File::open(&path)?)
}
