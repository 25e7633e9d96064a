//! Criterion 4: the module loads, is used, and unloads, hundreds of times, without a trace.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use serde_json::json;
use vexfs_uapi::Home;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

use super::{containment, faults, homes, load, torture};
use crate::dataset::{self, Dataset};
use crate::failure::{Failure, While};
use crate::kernel::{
    EXPECTED_TAINT, KernelLog, KernelMount, LoadedModule, Logged, ModuleFile, Taint, is_listed,
    live_allocations, load_open, registered,
};
use crate::place::Place;
use crate::requirement::Requirement;
use crate::trial::{Body, Context, Trial};
use crate::{project, require, stats as statistics};

/// Load/unload cycles of the stability trial.
pub const CYCLES: u32 = 300;
/// A cycle in so many mounts the module and uses it.
const USED_EVERY: u32 = 10;
/// Memory that the kernel may hold more after all cycles than after the first fifty, which fill
/// its own caches: a leak of 4 KiB a cycle is four times as much here.
const MEMORY_TOLERANCE_KIB: i64 = 256;

/// What every trial with the module needs.
pub(super) const NEEDS: &[Requirement] =
    &[Requirement::Root, Requirement::ModuleLoading, Requirement::Module];

/// The trials of the criterion, in the order of the mission.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let all: [(&str, Body); 9] = [
        ("module::is_built_for_the_running_kernel", matches_the_kernel),
        ("module::loads_and_is_listed", loads_and_is_listed),
        ("module::mounts_and_is_used", mounts_and_is_used),
        ("module::refuses_to_unload_while_mounted", refuses_while_mounted),
        ("module::refuses_to_load_twice", refuses_to_load_twice),
        ("module::refuses_unknown_mount_options", refuses_unknown_options),
        ("module::refuses_mounts_of_user_namespaces", containment::refuses_user_namespaces),
        ("module::indexes_count_in_their_makers_cgroup", containment::indexes_count_in_cgroups),
        ("module::survives_300_cycles", cycles),
    ];
    all.into_iter()
        .map(|(name, body)| {
            Trial::new(name, &[Place::Guest], move |context| watched(context, body))
                .needs(NEEDS)
                .alone()
        })
        .chain(homes::trials(Home::Kernel))
        .chain(torture::trials(Home::Kernel))
        .chain(load::trials(Home::Kernel))
        .chain(faults::trials(Home::Kernel))
        .collect()
}

/// Runs `body` and looks at what every trial with the module must leave: a quiet log, no taint
/// but that of an out-of-tree module, and nothing loaded or registered.
pub(super) fn watched(
    context: &Context,
    body: impl FnOnce(&Context) -> Result<(), Failure>,
) -> Result<(), Failure> {
    require!(!is_listed()?, "vexfs is loaded already; an earlier trial could not unload it");
    log_watched(context, body)?;
    require!(!is_listed()?, "vexfs is still in /proc/modules");
    require!(!registered()?, "vexfs is still in /proc/filesystems");
    for path in ["/sys/module/vexfs", "/sys/fs/vexfs", "/proc/fs/vexfs"] {
        require!(!Path::new(path).exists(), "{path} is left after unloading");
    }
    Ok(())
}

/// Runs `body`, which must leave a quiet log and no taint but that of an out-of-tree module.
pub(super) fn log_watched(
    context: &Context,
    body: impl FnOnce(&Context) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let taint = Taint::now()?;
    let mut log = KernelLog::from_now()?;
    KernelLog::mark(context.trial())?;
    let outcome = body(context);
    let logged = log.read()?;
    context.kernel_log(logged.lines())?;
    outcome?;
    check_log(&logged)?;
    let beyond = Taint::now()?.beyond(taint | EXPECTED_TAINT);
    require!(beyond.is_clean(), "the kernel is tainted: {beyond}");
    Ok(())
}

/// Our own mark must be there too: a log without it is not the log of this trial.
fn check_log(logged: &Logged) -> Result<(), Failure> {
    let marked = logged.records.iter().any(|one| one.text.starts_with("vexfs-validation: "));
    require!(marked, "the trial's mark is missing from the kernel log: lines were lost");
    logged.check()
}

fn matches_the_kernel(context: &Context) -> Result<(), Failure> {
    let module = ModuleFile::of_running_kernel()?;
    module.must_match(&project::running_kernel())?;
    require!(!module.srcversion.is_empty(), "the module has no srcversion");
    context.fact("module", json!({"vermagic": module.vermagic, "srcversion": module.srcversion}))
}

fn loads_and_is_listed(context: &Context) -> Result<(), Failure> {
    let file = ModuleFile::of_running_kernel()?;
    let loaded = file.load()?;
    require!(is_listed()?, "loaded, but not in /proc/modules");
    require!(registered()?, "loaded, but vexfs is not in /proc/filesystems");
    let running = loaded.srcversion()?;
    require!(
        running == file.srcversion,
        "the loaded module has srcversion {running}, the file {}",
        file.srcversion
    );
    context.fact("taint", Taint::now()?.to_string())?;
    loaded.unload()
}

fn mounts_and_is_used(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let idle = live_allocations()?;
    let mount = KernelMount::new("size=64M")?;
    use_it(mount.path())?;
    mount.unmount()?;
    let left = live_allocations()?;
    require!(left == idle, "{left} allocations of the engine live after use, {idle} before");
    context.fact("live allocations after use", left)?;
    loaded.unload()
}

/// Writes rows, indexes them, searches, and asks who served it.
fn use_it(mount: &Path) -> Result<(), Failure> {
    const DIM: usize = 32;
    let data = Dataset::generate(3, 256, DIM, 1);
    let path = mount.join("base.f32");
    fs::write(&path, dataset::bytes(&data.base))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    attach(&file, &Declaration::flat(DIM as u32)).when("ATTACH")?;
    let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
    for row in [0, 100, 255] {
        let hits = searcher.search(&file, data.row(row)).when("SEARCH")?;
        require!(
            hits.len() == 1 && hits[0].row == row as u64 && hits[0].distance == 0,
            "row {row} is not its own nearest neighbour: {hits:?}"
        );
    }
    let stats = stats(&file, 0).when("STATS")?;
    require!(
        stats.home == Home::Kernel as u32 && stats.searches == 3,
        "3 searches of the kernel's are counted as {} of home {}",
        stats.searches,
        stats.home
    );
    drop(file);
    require!(fs::read(&path)? == dataset::bytes(&data.base), "the file reads otherwise");
    fs::remove_file(&path)?;
    Ok(())
}

fn refuses_while_mounted(_: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=1M")?;
    // EWOULDBLOCK is what delete_module(2) says of a module in use when it must not wait.
    match loaded.try_unload() {
        Err(Errno::EWOULDBLOCK | Errno::EBUSY) => {}
        other => crate::fail!("unloading while mounted gave {other:?}, EWOULDBLOCK is due"),
    }
    fs::write(mount.path().join("f"), "works on")?;
    mount.unmount()?;
    loaded.unload()
}

fn refuses_to_load_twice(_: &Context) -> Result<(), Failure> {
    let file = ModuleFile::of_running_kernel()?;
    let loaded = file.load()?;
    match file.load() {
        Err(failure) => {
            let words = failure.to_string();
            require!(words.contains("EEXIST"), "a second load failed otherwise: {words}");
        }
        Ok(second) => {
            // One module, two guards: the first one unloads it.
            std::mem::forget(second);
            crate::fail!("the module loads twice");
        }
    }
    loaded.unload()
}

fn refuses_unknown_options(_: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    for options in ["nosuchoption", "size=-1", "size=many", "mode=9"] {
        match KernelMount::new(options) {
            Err(failure) if failure.to_string().contains("EINVAL") => {}
            Err(failure) => crate::fail!("{options}: {failure}, EINVAL is due"),
            Ok(_mounted) => crate::fail!("mount -o {options} is accepted, EINVAL is due"),
        }
    }
    loaded.unload()
}

/// What is looked at after each cycle.
struct Cycle {
    microseconds: u64,
    /// Slab of /proc/meminfo and kernel stacks, page tables, vmalloc: what a leak shows in.
    memory_kib: i64,
}

fn cycles(context: &Context) -> Result<(), Failure> {
    let file = ModuleFile::of_running_kernel()?;
    let open = File::open(&file.path).when(file.path.display())?;
    let mut done = Vec::with_capacity(CYCLES as usize);
    for number in 0..CYCLES {
        let started = Instant::now();
        one_cycle(&open, number.is_multiple_of(USED_EVERY)).when(format!("cycle {number}"))?;
        done.push(Cycle {
            microseconds: u64::try_from(started.elapsed().as_micros())?,
            memory_kib: kernel_memory_kib()?,
        });
    }
    let bound = statistics::failure_rate_bound(CYCLES, 0.05);
    context.fact(
        "cycles",
        json!({
            "done": done.len(),
            "used_every": USED_EVERY,
            "microseconds": done.iter().map(|one| one.microseconds).collect::<Vec<_>>(),
            "kernel_memory_kib": done.iter().map(|one| one.memory_kib).collect::<Vec<_>>(),
            "failure_rate_below": bound,
            "confidence": 0.95,
        }),
    )?;
    println!(
        "{CYCLES} of {CYCLES} cycles without a failure prove a failure rate below {:.2} % a cycle \
         at 95 %",
        bound * 100.0
    );
    check_memory(&done)
}

fn one_cycle(module: &File, used: bool) -> Result<(), Failure> {
    let loaded: LoadedModule = load_open(module)?;
    if used {
        let idle = live_allocations()?;
        let mount = KernelMount::new("size=16M")?;
        use_it(mount.path())?;
        mount.unmount()?;
        let left = live_allocations()?;
        require!(left == idle, "{left} allocations live after use, {idle} before");
    }
    loaded.unload()
}

/// The medians of two stretches of cycles, after the first fifty and at the end: single values
/// jump by what other parts of the kernel hold for a moment.
fn check_memory(cycles: &[Cycle]) -> Result<(), Failure> {
    let median = |part: &[Cycle]| {
        let values: Vec<f64> = part.iter().map(|one| one.memory_kib as f64).collect();
        statistics::median(&values).unwrap_or_default()
    };
    let count = cycles.len();
    require!(count >= 100, "{count} cycles are too few to tell a leak");
    let early = median(&cycles[50..75]);
    let late = median(&cycles[count - 25..]);
    let growth = (late - early) as i64;
    require!(
        growth <= MEMORY_TOLERANCE_KIB,
        "the kernel holds {growth} KiB more after {count} cycles than after 50: a leak"
    );
    Ok(())
}

/// Unreclaimable slab, kernel stacks, page tables and vmalloc, from /proc/meminfo: what stays
/// when something is not freed. Pages that are allocated directly do not show here; a sanitizer
/// kernel sees them.
fn kernel_memory_kib() -> Result<i64, Failure> {
    const PARTS: [&str; 4] = ["SUnreclaim:", "KernelStack:", "PageTables:", "VmallocUsed:"];
    let text = fs::read_to_string("/proc/meminfo").when("/proc/meminfo")?;
    let mut sum = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next().is_some_and(|name| PARTS.contains(&name)) {
            sum += words.next().unwrap_or_default().parse::<i64>().when(line)?;
        }
    }
    Ok(sum)
}
