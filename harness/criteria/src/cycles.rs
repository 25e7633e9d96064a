//! Many load/unload cycles: none may fail, and neither a load nor a mount may leave memory behind.

use std::fs::File;
use std::time::Instant;

use evidence::facts::{LOAD_CYCLE, LOAD_CYCLES, LoadCycle, LoadCycles, Used};
use evidence::stats as statistics;
use homes::kernel::{
    KernelLog, KernelMount, Kmemleak, LoadedModule, ModuleFile, kernel_memory_kib,
    leaked_allocations, live_allocations, load_open, mounts_by_command,
};
use machine::failure::{Failure, WithContext};
use machine::require;

use super::watched::use_what_there_is;
use crate::trial::Context;

/// Load/unload cycles of the stability trial.
pub const CYCLES: u32 = 300;
/// In one cycle of this many the module is also mounted and used.
const USED_EVERY: u32 = 10;
/// How often it is mounted, used and unmounted in such a cycle, unless a command mounts it. With a
/// single use in each, less than 12 KiB that every mount leaks would stay within
/// [`MEMORY_TOLERANCE_KIB`].
const USES: u32 = 7;
/// The kernel may hold this much more memory after all cycles than after the first fifty, which
/// fill its own caches. A leak of 4 KiB a cycle adds more than three times as much, a leak of 4 KiB a
/// mount more than twice.
const MEMORY_TOLERANCE_KIB: i64 = 256;

pub(super) fn survives(context: &Context) -> Result<(), Failure> {
    let file = ModuleFile::of_running_kernel()?;
    let open = File::open(&file.path).context(file.path.display())?;
    let of_others = leaked_allocations()?;
    let kmemleak = Kmemleak::from_now()?;
    // A user's own command may make an image for each mount, which takes seconds.
    let uses = if mounts_by_command()? { 1 } else { USES };
    context.fact("mounts and uses in one load", uses)?;
    let mut done = Vec::with_capacity(CYCLES as usize);
    let mut used = None;
    for number in 0..CYCLES {
        // If a kernel goes down, the console then shows in which cycle.
        KernelLog::mark(&format!("{}: cycle {number}", context.trial()))?;
        let mut cycle = || -> Result<LoadCycle, Failure> {
            let started = Instant::now();
            let (live, how) =
                one_cycle(&open, if number.is_multiple_of(USED_EVERY) { uses } else { 0 })?;
            used = how.or(used);
            let microseconds = u64::try_from(started.elapsed().as_micros())?;
            let live_allocations = live + leaked_allocations()?.saturating_sub(of_others);
            let kernel_memory_kib = kernel_memory_kib()?;
            Ok(LoadCycle { number, microseconds, kernel_memory_kib, live_allocations })
        };
        let cycle = cycle().context(format!("cycle {number}"))?;
        context.fact(LOAD_CYCLE, &cycle)?;
        done.push(cycle);
    }
    let bound = statistics::failure_rate_bound(CYCLES, 0.05);
    let memory: Vec<i64> = done.iter().map(|one| one.kernel_memory_kib).collect();
    let live: Vec<u64> = done.iter().map(|one| one.live_allocations).collect();
    context.fact(
        LOAD_CYCLES,
        &LoadCycles {
            done: done.len(),
            used_every: USED_EVERY,
            used,
            microseconds: done.iter().map(|one| one.microseconds).collect(),
            kernel_memory_kib: memory.clone(),
            live_allocations: live.clone(),
            failure_rate_below: bound,
            confidence: 0.95,
        },
    )?;
    println!(
        "{CYCLES} of {CYCLES} cycles without a failure prove a failure rate below {:.2} % a cycle \
         at 95 %",
        bound * 100.0
    );
    if let Some(number) = live.iter().position(|&left| left > 0) {
        machine::fail!("{} allocations of the module outlive cycle {number}", live[number]);
    }
    // A kernel with kmemleak uses memory for its own records, so its leak report decides instead.
    match kmemleak {
        Some(kmemleak) => kmemleak.check(),
        None => check_memory(&memory),
    }
}

/// Loads the module, mounts and uses it `uses` times, and unloads it. Returns its live allocations
/// just before unloading, and how it was used.
fn one_cycle(module: &File, uses: u32) -> Result<(u64, Option<Used>), Failure> {
    let loaded: LoadedModule = load_open(module)?;
    let mut used = None;
    for number in 0..uses {
        let mounted = || -> Result<Used, Failure> {
            let mount = KernelMount::new("size=16M")?;
            let how = use_what_there_is(mount.path())?;
            mount.unmount()?;
            Ok(how)
        };
        used = Some(mounted().context(format!("mount {number} of this load"))?);
    }
    let left = live_allocations()?;
    loaded.unload()?;
    // For a module without such a counter, the caller counts the allocations that outlive it.
    Ok((left.unwrap_or_default(), used))
}

/// Compares the medians of two stretches of cycles, after the first fifty and at the end. Medians,
/// because single values jump with what other parts of the kernel hold for a moment.
fn check_memory(kib: &[i64]) -> Result<(), Failure> {
    let median = |part: &[i64]| {
        let values: Vec<f64> = part.iter().map(|&one| one as f64).collect();
        statistics::median(&values).unwrap_or_default()
    };
    let count = kib.len();
    require!(count >= 100, "{count} cycles are too few to tell a leak");
    let growth = (median(&kib[count - 25..]) - median(&kib[50..75])) as i64;
    require!(
        growth <= MEMORY_TOLERANCE_KIB,
        "the kernel uses {growth} KiB more after {count} cycles than after 50: a leak"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel holds after each cycle, in which other parts of it take and give back up to
    /// 160 KiB.
    fn held(kib_per_load: i64, kib_per_mount: i64) -> Vec<i64> {
        let mut held = 53_528;
        (0..CYCLES)
            .map(|number| {
                let mounts = if number.is_multiple_of(USED_EVERY) { i64::from(USES) } else { 0 };
                held += kib_per_load + kib_per_mount * mounts;
                held + i64::from(number * 37 % 5) * 40
            })
            .collect()
    }

    #[test]
    fn a_page_that_each_load_or_each_mount_keeps_is_a_leak() {
        check_memory(&held(0, 0)).unwrap();
        for (load, mount) in [(4, 0), (0, 4), (2, 2)] {
            let said = check_memory(&held(load, mount)).unwrap_err().to_string();
            assert!(said.ends_with("KiB more after 300 cycles than after 50: a leak"), "{said}");
        }
    }
}
