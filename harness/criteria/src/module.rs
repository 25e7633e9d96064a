//! Criterion 4: the module loads, is used and unloads hundreds of times, and leaves nothing behind.

use std::fs;

use evidence::facts::{LIVE_AFTER_USE, MODULE};
use evidence::place::Place;
use homes::filesystem::contract;
use homes::is_own;
use homes::kernel::{
    KernelMount, Kmemleak, ModuleFile, Taint, is_listed, live_allocations, mounts_by_command,
    names, registered,
};
use machine::failure::Failure;
use machine::{project, require};
use nix::errno::Errno;
use vexfs_uapi::Home;

use super::watched::{NEEDS, use_it, watched};
use super::{
    adversary, beside_a_build, both_homes, busy, containment, counted, cycles, faults,
    killed_changes, load, mount_command, search_memory, set_id, stalled, throttled, torture,
};
use crate::trial::{Body, Context, Trial};

/// The trials of the criterion, in the order of the mission.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let all: [(&str, Body); 21] = [
        ("module::is_built_for_the_running_kernel", matches_the_kernel),
        ("module::loads_and_is_listed", loads_and_is_listed),
        ("module::mounts_and_is_used", mounts_and_is_used),
        ("module::mounts_by_a_command", mount_command::mounts),
        ("module::refuses_to_unload_while_mounted", refuses_while_mounted),
        ("module::refuses_to_load_twice", refuses_to_load_twice),
        ("module::refuses_unknown_mount_options", refuses_unknown_options),
        ("module::refuses_mounts_of_user_namespaces", containment::refuses_user_namespaces),
        ("module::indexes_count_in_their_makers_cgroup", containment::indexes_count_in_cgroups),
        ("module::a_user_has_a_share_of_the_memory_of_searches", search_memory::a_user_has_a_share),
        (
            "module::searches_count_in_their_callers_cgroup",
            search_memory::counts_in_the_searchers_cgroup,
        ),
        ("module::set_id_bits_given_within_a_write_end_with_it", set_id::end_with_the_write),
        ("module::others_are_answered_while_an_index_is_built", busy::others_are_answered),
        (
            "module::others_are_answered_while_a_write_waits_for_its_memory",
            stalled::others_are_answered,
        ),
        (
            "module::stores_while_a_write_waits_for_its_memory_are_no_part_of_the_file",
            stalled::stores_behind_the_end_are_lost,
        ),
        ("module::a_mount_takes_what_it_counts", counted::a_mount_takes_what_it_counts),
        (
            "module::others_are_answered_while_a_write_is_over_its_cgroups_limit",
            throttled::others_are_answered,
        ),
        (
            "module::a_killed_asynchronous_sync_waits_for_no_index",
            beside_a_build::killed_syncs_are_gone,
        ),
        (
            "module::an_asynchronous_sync_by_a_reader_holds_up_no_search",
            beside_a_build::readers_publish_nothing,
        ),
        ("module::writers_that_wait_hold_no_memory", beside_a_build::waiting_writers_hold_nothing),
        ("module::survives_300_cycles", cycles::survives),
    ];
    all.into_iter()
        .map(|(name, body)| {
            Trial::new(name, &[Place::Guest], move |context| watched(context, body))
                .needs(NEEDS)
                .alone()
        })
        .chain(both_homes::operations(Home::Kernel))
        .chain([both_homes::forced_unmount(Home::Kernel)])
        .chain(adversary::trials(Home::Kernel))
        .chain(torture::trials(Home::Kernel))
        .chain(load::trials(Home::Kernel))
        .chain(faults::trials(Home::Kernel))
        .chain(killed_changes::trials(Home::Kernel))
        .collect()
}

fn matches_the_kernel(context: &Context) -> Result<(), Failure> {
    let module = ModuleFile::of_running_kernel()?;
    module.must_match(&project::running_kernel())?;
    // Kbuild gives a srcversion to modules with a version, as the reference has; others may have
    // none.
    let own = is_own(Home::Kernel)?;
    require!(own || !module.srcversion.is_empty(), "the module has no srcversion");
    context.fact(MODULE, module.identity())
}

fn loads_and_is_listed(context: &Context) -> Result<(), Failure> {
    let file = ModuleFile::of_running_kernel()?;
    let loaded = file.load()?;
    require!(is_listed()?, "loaded, but not in /proc/modules");
    let kind = &names().file_system;
    require!(registered()?, "loaded, but {kind} is not in /proc/filesystems");
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
    let kmemleak = Kmemleak::from_now()?;
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let idle = live_allocations()?;
    let mount = KernelMount::new("size=64M")?;
    let used = use_it(mount.path());
    mount.unmount()?;
    used?;
    let left = live_allocations()?;
    require!(left == idle, "{left:?} allocations of the engine live after use, {idle:?} before");
    context.fact(LIVE_AFTER_USE, left)?;
    loaded.unload()?;
    kmemleak.map_or(Ok(()), Kmemleak::check)
}

fn refuses_while_mounted(_: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=1M")?;
    // With O_NONBLOCK, delete_module(2) gives EWOULDBLOCK for a module in use.
    match loaded.try_unload() {
        Err(Errno::EWOULDBLOCK | Errno::EBUSY) => {}
        other => machine::fail!("unloading while mounted gave {other:?}, expected EWOULDBLOCK"),
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
            require!(words.contains("EEXIST"), "a second load failed, expected EEXIST: {words}");
        }
        Ok(second) => {
            // There are now two guards for one module; the first one unloads it.
            std::mem::forget(second);
            machine::fail!("the module loads twice");
        }
    }
    loaded.unload()
}

fn refuses_unknown_options(_: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    refuse_unknown_options()?;
    loaded.unload()
}

/// Checks that the loaded module refuses options that it does not know.
pub(crate) fn refuse_unknown_options() -> Result<(), Failure> {
    for options in ["nosuchoption", "size=-1", "size=many", "mode=9"] {
        match KernelMount::new(options) {
            Err(failure) if failure.to_string().contains("EINVAL") => {}
            // The mount was refused by a command, which does not tell the errno.
            Err(_) if mounts_by_command()? => {}
            Err(failure) => machine::fail!("{options}: {failure}, expected EINVAL"),
            Ok(_mounted) => {
                let failure = format!("mount -o {options} is accepted, expected EINVAL");
                return Err(contract::unknown_option(Failure::new(failure)));
            }
        }
    }
    Ok(())
}
