//! Runs cycles until the time is up or one fails.

use std::fs::File;
use std::time::Duration;

use evidence::facts::{MODULE, SOAK_CYCLE, SoakCycle};
use homes::kernel::{
    EXPECTED_TAINT, KernelLog, ModuleFile, Taint, is_listed, leaked_allocations, load_needed, names,
};
use machine::failure::{Failure, WithContext};
use machine::{project, require};

use super::cycle::{self, Before};
use crate::trial::Context;
use crate::watched::check_log;

/// Loads, uses and unloads the module under load until the cycles have taken `time`, and at least
/// once. Each cycle is recorded; the first one that fails ends it.
///
/// # Errors
/// A fault in a cycle's work, in the kernel's log or in what is left behind; or a module that is
/// already loaded, missing or built for another kernel.
pub fn endure(context: &Context, time: Duration) -> Result<(), Failure> {
    require!(!is_listed()?, "{} is loaded already; unload it first", names().module);
    load_needed()?;
    let file = ModuleFile::of_running_kernel()?;
    file.must_match(&project::running_kernel())?;
    context.fact(MODULE, file.identity())?;
    let open = File::open(&file.path).context(file.path.display())?;
    let before = Before { leaked_allocations: leaked_allocations()? };
    let taint = Taint::now()?;
    let mut log = KernelLog::from_now()?;
    let mut under_load = Duration::ZERO;
    for number in 0.. {
        KernelLog::mark(&format!("soak cycle {number}"))?;
        let done = cycle::run(context, &open, &before, number);
        let logged = log.read()?;
        let lines = logged.lines();
        // A cycle logs our mark; in the first one the kernel also logs two lines about the taint.
        if lines.len() > 1 || done.is_err() {
            context.kernel_log(lines)?;
        }
        let cycle = || -> Result<SoakCycle, Failure> {
            let done = SoakCycle { log_lines: logged.records.len().saturating_sub(1), ..done? };
            check_log(&logged)?;
            let beyond = Taint::now()?.beyond(taint | EXPECTED_TAINT);
            require!(beyond.is_clean(), "the kernel is tainted: {beyond}");
            Ok(done)
        };
        let cycle = cycle().context(format!("cycle {number}"))?;
        println!(
            "cycle {number}: {:.1} s, {} searches, {} writes, {} unloads refused{}, kernel memory \
             {} KiB",
            cycle.microseconds as f64 / 1e6,
            cycle.searches,
            cycle.writes,
            cycle.refused,
            cycle.loads.iter().map(|load| format!(", {load}")).collect::<String>(),
            cycle.kernel_memory_kib
        );
        under_load += Duration::from_micros(cycle.microseconds);
        context.fact(SOAK_CYCLE, cycle)?;
        if under_load >= time {
            break;
        }
    }
    Ok(())
}
