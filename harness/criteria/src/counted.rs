//! What a home takes of the machine's memory is what it counts.

use std::fs::{self, File};
use std::path::Path;

use homes::Mounted;
use homes::kernel::{KernelMount, ModuleFile};
use machine::failure::{Failure, WithContext};
use machine::require;
use nix::sys::statvfs::statvfs;
use rustix::fs::{XattrFlags, renameat, setxattr};
use serde_json::json;
use vexfs_uapi::Home;
use vexfs_uapi::client::{Declaration, attach};

use crate::adversary::Standing;
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
    Ok((stat.blocks() - stat.blocks_free()) * stat.fragment_size() / 1024)
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
    require!(counted >= least, "{what}: {counted} KiB are counted, {least} are due at least");
    require!(
        taken <= counted + counted / 7 + NOISE_KIB,
        "{what}: the machine has {taken} KiB less, of which the mount counts {counted}"
    );
    Ok(())
}

/// Sizes of which an allocator of powers of two takes almost twice as much.
pub(super) fn a_mount_takes_what_it_counts(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=512M")?;
    own_knows_requests(mount.path())?;
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
    require!(
        last <= first + MOST_KIB,
        "{NAMES} names were moved through {DIRECTORIES} directories: after {FIRST} of them the daemon \
         held {first} KiB, and then {last}"
    );
    drop(from);
    mounted.unmount()
}

fn directory(root: &Path, number: usize) -> Result<File, Failure> {
    let path = root.join(number.to_string());
    fs::create_dir(&path)?;
    Ok(File::open(&path)?)
}
