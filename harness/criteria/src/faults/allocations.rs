//! Lets each of the module's allocations fail once. On a kernel with fault injection, also those
//! that the kernel makes for the module.

use std::collections::BTreeMap;

use homes::filesystem::in_thread;
use homes::filesystem::out_of_memory::{STEPS, Work};
use homes::kernel::fault::{self, Injector};
use homes::kernel::{KernelMount, ModuleFile, is_listed, live_allocations, mounts_by_command};
use homes::torture::scale;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use crate::trial::Context;

/// Passes of the work, in each of which one allocation fails. If the work makes more allocations,
/// the first half of the passes takes the first of them, and the rest are spread over the others.
const PASSES: u32 = 300;

/// The counts for the evidence.
#[derive(Debug, Default, Serialize)]
struct AllocationCounts {
    allocations_of_loading: u32,
    allocations_of_the_work: u32,
    /// How many of them were made to fail, one in each pass.
    failed: u32,
    /// Failures that no step reported, because the module did without the memory.
    done_without: u32,
    /// The other failures, by the step that failed and was then repeated.
    by_step: BTreeMap<&'static str, u32>,
}

pub(super) fn fail_one_by_one(context: &Context) -> Result<(), Failure> {
    let file = fault::test_build()?;
    let allocations_of_loading = loading_fails_cleanly(&file)?;
    let loaded = file.load()?;
    let (by_module, by_kernel) = in_thread(|| -> Result<_, Failure> {
        // A CPU allocates memory when it first searches. On a single CPU that comes at the same
        // place in each pass.
        let mut one = CpuSet::new();
        one.set(0)?;
        sched_setaffinity(Pid::from_raw(0), &one).context("staying on CPU 0")?;
        let most = PASSES * scale()?;
        let by_module =
            AllocationCounts { allocations_of_loading, ..passes(&Injector::Module, most)? };
        let kernel = Injector::of_the_kernel()?;
        let by_kernel = kernel.map(|kernel| passes(&kernel, most)).transpose();
        let by_kernel = by_kernel.context("the kernel's fault injection")?;
        Ok((by_module, by_kernel))
    })?;
    context.fact("allocations that failed", &by_module)?;
    context.fact("allocations that the kernel let fail", &by_kernel)?;
    for outcome in [Some(by_module), by_kernel].into_iter().flatten() {
        let steps = outcome.by_step;
        require!(
            steps.len() > STEPS.len() / 2,
            "failing allocations made only these steps fail: {steps:?}"
        );
    }
    loaded.unload()
}

/// Lets each allocation of loading fail in turn. Returns how many there are.
fn loading_fails_cleanly(file: &ModuleFile) -> Result<u32, Failure> {
    for nth in 1..=100 {
        match file.load_with(&format!("fail_nth={nth}")) {
            Ok(loaded) => {
                let left = Injector::Module.until_failure()?;
                loaded.unload()?;
                require!(left > 0, "allocation {nth} failed, but the module was loaded");
                return Ok(nth - left);
            }
            Err(failure) => {
                require!(out_of_memory(&failure), "loading when allocation {nth} fails: {failure}");
                require!(!is_listed()?, "the module is listed although loading it failed");
            }
        }
    }
    fail!("loading takes more than 100 allocations")
}

fn out_of_memory(failure: &Failure) -> bool {
    failure.to_string().contains("ENOMEM")
}

/// Does the work with each allocation failing in turn, and once more without a failure.
fn passes(injector: &Injector, most: u32) -> Result<AllocationCounts, Failure> {
    let mut outcome = AllocationCounts::default();
    let (left, _) = pass(injector, u32::MAX)?;
    outcome.allocations_of_the_work = u32::MAX - left;
    for nth in spread(outcome.allocations_of_the_work, most) {
        let (left, failed) = pass(injector, nth).context(format!("allocation {nth}"))?;
        require!(left == 0, "allocation {nth} was not made");
        outcome.failed += 1;
        match failed {
            Some(step) => *outcome.by_step.entry(step).or_default() += 1,
            None => outcome.done_without += 1,
        }
    }
    let beyond = outcome.allocations_of_the_work + 1;
    let (left, failed) = pass(injector, beyond).context("a pass without failure")?;
    require!(left == 1 && failed.is_none(), "{failed:?} failed though no allocation did");
    Ok(outcome)
}

/// At most `most` of the numbers from 1 to `all`: the first `most / 2` without a gap, and others
/// spread up to the last.
fn spread(all: u32, most: u32) -> Vec<u32> {
    let dense = if all <= most { all } else { most / 2 };
    let stride = (all - dense).div_ceil((most - dense).max(1)).max(1);
    let mut numbers: Vec<u32> = (1..=dense).collect();
    numbers.extend((dense..=all).rev().step_by(stride as usize).filter(|&nth| nth > dense));
    numbers
}

/// Mounts, does the work and unmounts while allocation `nth` fails. A step that fails is repeated,
/// and afterwards all must be as if nothing had failed. Returns how many of the `nth` allocations
/// were not made, and the step that failed.
fn pass(injector: &Injector, nth: u32) -> Result<(u32, Option<&'static str>), Failure> {
    injector.fail_nth(nth)?;
    let mut failed = None;
    let mount = KernelMount::new("size=16M").or_else(|failure| {
        require!(out_of_memory(&failure) || mounts_by_command()?, "{failure}, expected ENOMEM");
        failed = Some("mount");
        KernelMount::new("size=16M")
    })?;
    let mut work = Work::new(mount.path());
    for &(name, step) in STEPS {
        match step(&mut work) {
            Ok(()) => continue,
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {}
            Err(error) => return Err(error).context(name),
        }
        require!(
            failed.is_none() && injector.until_failure()? == 0,
            "{name} failed though no allocation did"
        );
        failed = Some(name);
        work.check().context(format!("after {name} failed"))?;
        step(&mut work).context(format!("{name} once more"))?;
    }
    let left = injector.until_failure()?;
    injector.fail_nth(0)?;
    work.check_end().context("at the end")?;
    drop(work);
    mount.unmount()?;
    let live = live_allocations()?.unwrap_or_default();
    require!(live == 0, "{live} allocations of the engine live after unmounting");
    Ok((left, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_spread_over_all_allocations() {
        assert_eq!(spread(4, 10), [1, 2, 3, 4]);
        assert!(spread(0, 10).is_empty());
        let many = spread(1_000, 100);
        assert!(many.len() <= 100 && many.len() > 90 && many.contains(&1_000), "{many:?}");
        assert!((1..=50).all(|nth| many.contains(&nth)), "{many:?}");
    }
}
