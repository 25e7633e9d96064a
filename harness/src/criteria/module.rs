//! Criterion 4: the module loads, is used, and unloads, hundreds of times, without a trace.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use evidence::place::Place;
use nix::errno::Errno;
use serde_json::json;
use vexfs_uapi::Home;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

use super::{adversary, busy, containment, cycles, faults, homes, load, torture};
use crate::dataset::{self, Dataset};
use crate::deadline::wait_for;
use crate::failure::{Failure, While};
use crate::kernel::{
    EXPECTED_TAINT, KernelLog, KernelMount, Kmemleak, Logged, ModuleFile, Names, Surroundings,
    Taint, is_listed, live_allocations, mounts_by_command, names, registered,
};
use crate::requirement::Requirement;
use crate::trial::{Body, Context, Trial};
use crate::{project, require};

/// What every trial with the module needs.
pub(super) const NEEDS: &[Requirement] =
    &[Requirement::Root, Requirement::ModuleLoading, Requirement::Module];

/// How long what is no business of the module's may show itself beside it.
const LINGER: Duration = Duration::from_secs(5);

/// The trials of the criterion, in the order of the mission.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let all: [(&str, Body); 10] = [
        ("module::is_built_for_the_running_kernel", matches_the_kernel),
        ("module::loads_and_is_listed", loads_and_is_listed),
        ("module::mounts_and_is_used", mounts_and_is_used),
        ("module::refuses_to_unload_while_mounted", refuses_while_mounted),
        ("module::refuses_to_load_twice", refuses_to_load_twice),
        ("module::refuses_unknown_mount_options", refuses_unknown_options),
        ("module::refuses_mounts_of_user_namespaces", containment::refuses_user_namespaces),
        ("module::indexes_count_in_their_makers_cgroup", containment::indexes_count_in_cgroups),
        ("module::others_are_answered_while_an_index_is_built", busy::others_are_answered),
        ("module::survives_300_cycles", cycles::survives),
    ];
    all.into_iter()
        .map(|(name, body)| {
            Trial::new(name, &[Place::Guest], move |context| watched(context, body))
                .needs(NEEDS)
                .alone()
        })
        .chain(homes::trials(Home::Kernel))
        .chain(adversary::trials(Home::Kernel))
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
    let name = &names().module;
    require!(!is_listed()?, "{name} is loaded already; an earlier trial could not unload it");
    let before = Surroundings::now()?;
    log_watched(context, body)?;
    nothing_left()?;
    // What others do meanwhile is gone in a moment.
    let mut left = Vec::new();
    let gone = wait_for("", LINGER, || {
        left = Surroundings::now()?.beyond(&before);
        Ok(left.is_empty().then_some(()))
    });
    if gone.is_err() {
        crate::fail!("after unloading there is what was not there before: {}", left.join(", "));
    }
    Ok(())
}

/// That the module is neither loaded nor registered, and has left no directory.
pub(crate) fn nothing_left() -> Result<(), Failure> {
    let Names { module, file_system } = names();
    require!(!is_listed()?, "{module} is still in /proc/modules");
    require!(!registered()?, "{file_system} is still in /proc/filesystems");
    for path in [
        format!("/sys/module/{module}"),
        format!("/sys/fs/{file_system}"),
        format!("/proc/fs/{file_system}"),
    ] {
        require!(!Path::new(&path).exists(), "{path} is left after unloading");
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
pub(crate) fn check_log(logged: &Logged) -> Result<(), Failure> {
    let marked = logged.records.iter().any(|one| one.text.starts_with("vexfs-validation: "));
    logged.check()?;
    if !marked {
        let words = "the trial's mark is missing from the kernel log: lines were lost";
        return Err(Failure::undecided(words));
    }
    Ok(())
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
    use_it(mount.path())?;
    mount.unmount()?;
    let left = live_allocations()?;
    require!(left == idle, "{left:?} allocations of the engine live after use, {idle:?} before");
    context.fact("live allocations after use", left)?;
    loaded.unload()?;
    kmemleak.map_or(Ok(()), Kmemleak::check)
}

/// Writes rows, indexes them, searches, and asks who served it.
pub(crate) fn use_it(mount: &Path) -> Result<(), Failure> {
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
            // It was refused, and nobody can say by which errno.
            Err(_) if mounts_by_command()? => {}
            Err(failure) => crate::fail!("{options}: {failure}, EINVAL is due"),
            Ok(_mounted) => crate::fail!("mount -o {options} is accepted, EINVAL is due"),
        }
    }
    loaded.unload()
}
