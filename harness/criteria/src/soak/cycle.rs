//! One cycle of the soak: load the module, use it, try to unload it under load, and unload it.

use std::fs::File;
use std::time::Instant;

use evidence::facts::SoakCycle;
use homes::filesystem::{Served, requests_end_well};
use homes::kernel::{
    KernelMount, kernel_memory_kib, leaked_allocations, live_allocations, load_open,
};
use homes::torture::{fio, stress_ng};
use machine::failure::{Failure, WithContext};

use crate::faults::unloading;
use crate::trial::Context;
use crate::watched::{nothing_left, use_it};

/// Attempts to unload the module in each cycle while it is searched and written to.
const ATTEMPTS: u32 = 100;
/// One cycle in this many runs each of the other loads, in turn.
const OTHER_LOADS_EVERY: u32 = 10;

/// The state before the first cycle.
pub(super) struct Before {
    /// [`leaked_allocations`] at that time, left by other modules.
    pub(super) leaked_allocations: u64,
}

/// Runs one cycle. The caller checks the kernel's log.
pub(super) fn run(
    context: &Context,
    module: &File,
    before: &Before,
    number: u32,
) -> Result<SoakCycle, Failure> {
    let started = Instant::now();
    let turn = number % OTHER_LOADS_EVERY;
    let mut loads = Vec::new();
    if turn == 1 {
        unloading::races_with_mounts(context).context("while others mount")?;
        loads.push("mounts of others".to_owned());
    }
    let loaded = load_open(module)?;
    let mount = KernelMount::new("size=256M")?;
    use_it(mount.path())?;
    if turn == 4 {
        fio::run(mount.path())?;
        loads.push("fio".to_owned());
    }
    if turn == 7 {
        stress_ng::run(mount.path())?;
        loads.push("stress-ng".to_owned());
    }
    let Served { searches, writes } =
        requests_end_well(mount.path(), &[], || unloading::refuses(&loaded, ATTEMPTS))?;
    mount.unmount()?;
    let left = live_allocations()?.unwrap_or_default();
    loaded.unload()?;
    nothing_left()?;
    let live_allocations = left + leaked_allocations()?.saturating_sub(before.leaked_allocations);
    machine::require!(live_allocations == 0, "{live_allocations} allocations outlive the module");
    Ok(SoakCycle {
        number,
        microseconds: u64::try_from(started.elapsed().as_micros())?,
        loads,
        searches,
        writes,
        refused: ATTEMPTS,
        kernel_memory_kib: kernel_memory_kib()?,
        live_allocations,
        log_lines: 0,
    })
}
