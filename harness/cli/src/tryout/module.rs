//! Tries ten things of the kernel module in the guest. On the host, only looks at its file.

use std::path::Path;
use std::time::Duration;

use homes::Mounted;
use homes::filesystem::{FirstThing, OPTIONS, first_things};
use homes::kernel::{ModuleFile, live_allocations};
use machine::config::Config;
use machine::failure::Failure;
use machine::interrupt::Signals;
use machine::require;
use vexfs_uapi::Home;

use super::advice;
use super::tally::Tally;
use super::watch::{slowness, within};
use crate::output::outln;
use crate::stop::Stop;

/// The limit of each thing. Nothing can free a process that waits for the kernel.
const EACH: Duration = Duration::from_secs(10);

const LOADS: &str = "loads, and its file system mounts";
const UNMOUNTS: &str = "unmounts, and leaves nothing behind";
const UNLOADS: &str = "unloads, and loads again";

pub(super) fn try_it(tally: &mut Tally, signals: &Signals) -> Result<(), Stop> {
    let limit = EACH * slowness();
    let mount = |options: &str| Mounted::with_options(Home::Kernel, options);
    let things = first_things();
    let (sized, plain): (Vec<_>, Vec<_>) =
        things.into_iter().partition(|thing| !thing.operation.on_any_mount());
    let mounted = within(limit, signals, || mount(OPTIONS))?;
    let mounted = match mounted {
        Ok(mounted) => {
            tally.works(LOADS, "");
            mounted
        }
        Err(failure) => {
            tally.lacks(LOADS, &failure, None);
            tally.rest_not_tried("the module does not mount");
            return Ok(());
        }
    };
    let tried = |mounted: &Mounted, thing: &FirstThing| {
        let path = mounted.path().to_owned();
        within(limit, signals, || thing.operation.run_apart(&path, limit))
    };
    for thing in plain {
        match tried(&mounted, &thing)? {
            Ok(()) => tally.works(thing.title, ""),
            Err(failure) => tally.lacks(thing.title, &super::plain(&failure, &thing), None),
        }
    }
    let unmounted = within(limit, signals, || mounted.unmount())?;
    match unmounted {
        Ok(()) => tally.works(UNMOUNTS, ""),
        Err(failure) => tally.lacks(UNMOUNTS, &failure, None),
    }
    for thing in sized {
        let outcome = match within(limit, signals, || mount(thing.operation.options))? {
            Ok(mounted) => {
                let outcome = tried(&mounted, &thing)?;
                outcome.and_then(|()| mounted.unmount())
            }
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => tally.works(thing.title, ""),
            Err(failure) => tally.lacks(thing.title, &super::plain(&failure, &thing), None),
        }
    }
    match within(limit, signals, loads_again)? {
        Ok(()) => tally.works(UNLOADS, ""),
        Err(failure) => tally.lacks(UNLOADS, &failure, None),
    }
    Ok(())
}

fn loads_again() -> Result<(), Failure> {
    for _ in 0..2 {
        let loaded = ModuleFile::of_running_kernel()?.load()?;
        let live = live_allocations()?.unwrap_or_default();
        require!(live == 0, "{live} allocations of the engine are live after loading");
        loaded.unload()?;
    }
    Ok(())
}

/// Prints what the module's file says about itself, without a guest. Returns whether it is a
/// module.
pub(super) fn look_at_file(config: &Config) -> bool {
    // The guest sees the same configuration, and runs the checkout's programs.
    let in_guest = "the guest tries it: vexfs-validate guest -- target/debug/vexfs-validate try";
    let Some(own) = &config.module else { return true };
    if own.path.is_dir() {
        let sources = own.path.display();
        outln!("kernel module: built from {sources} before a guest boots; {in_guest}");
        return true;
    }
    match read(&own.path) {
        Ok(words) => {
            outln!("kernel module: {words}; {in_guest}");
            true
        }
        Err(failure) => {
            outln!("kernel module: {failure} ({})", advice::place_of("module"));
            false
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let file = ModuleFile::read(path)?;
    let kernel = file.vermagic.split(' ').next().unwrap_or_default();
    Ok(format!("{} is built for kernel {kernel}", path.display()))
}
