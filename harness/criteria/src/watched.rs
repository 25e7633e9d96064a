//! What every trial with the module must leave behind: a quiet log, no taint, and nothing else.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use evidence::facts::Used;
use homes::is_own;
use homes::kernel::{
    EXPECTED_TAINT, KernelLog, Logged, Names, SideEffects, Taint, is_listed, load_needed,
    look_at_slabs, may_be_tried, names, registered,
};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset::{self, Dataset};
use nix::errno::Errno;
use vexfs_uapi::Home;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

use crate::requirement::Requirement;
use crate::trial::Context;

/// What every trial with the module needs.
pub(crate) const NEEDS: &[Requirement] =
    &[Requirement::Root, Requirement::ModuleLoading, Requirement::Module];

/// Other activity of the kernel may leave traces for this long.
const LINGER: Duration = Duration::from_secs(5);

/// Runs `body`, and then checks for a quiet log, no taint except the one for an out-of-tree module,
/// and nothing left loaded or registered.
pub(crate) fn watched(
    context: &Context,
    body: impl FnOnce(&Context) -> Result<(), Failure>,
) -> Result<(), Failure> {
    may_be_tried()?;
    let name = &names().module;
    if is_listed()? {
        // The earlier trial is red already, and one cause is one failure.
        return Err(Failure::not_tried(format!(
            "not tried: {name} is loaded already; an earlier trial could not unload it"
        )));
    }
    load_needed()?;
    let before = SideEffects::now()?;
    log_watched(context, body)?;
    nothing_left()?;
    // Traces of other activity in the kernel go away in a moment.
    let mut left = Vec::new();
    let gone = wait_for("", LINGER, || {
        left = SideEffects::now()?.beyond(&before);
        Ok(left.is_empty().then_some(()))
    });
    if gone.is_err() {
        machine::fail!("unloading left behind: {}", left.join(", "));
    }
    Ok(())
}

/// Checks that the module is neither loaded nor registered, and has left no directory.
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

/// Runs `body`, which must leave a quiet log and no taint except the one for an out-of-tree module.
pub(crate) fn log_watched(
    context: &Context,
    body: impl FnOnce(&Context) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let taint = Taint::now()?;
    let mut log = KernelLog::from_now()?;
    KernelLog::mark(context.trial())?;
    let outcome = body(context);
    look_at_slabs()?;
    let logged = log.read()?;
    context.kernel_log(logged.lines())?;
    outcome?;
    check_log(&logged)?;
    let beyond = Taint::now()?.beyond(taint | EXPECTED_TAINT);
    require!(beyond.is_clean(), "the kernel is tainted: {beyond}");
    Ok(())
}

/// Checks the trial's part of the kernel log. Our own mark must be in it: without the mark lines
/// were lost.
pub(crate) fn check_log(logged: &Logged) -> Result<(), Failure> {
    let marked = logged.records.iter().any(|one| one.text.starts_with("vexfs-validation: "));
    logged.check()?;
    if !marked {
        let words = "the trial's mark is missing from the kernel log: lines were lost";
        return Err(Failure::undecided(words));
    }
    Ok(())
}

/// Writes rows, indexes and searches them, and checks by STATS that the module served.
///
/// # Errors
/// The first failure; ENOTTY from a module that does not know the contract's ioctls.
pub(crate) fn use_it(mount: &Path) -> Result<(), Failure> {
    const DIM: usize = 32;
    // Generated once: on an emulated CPU that takes longer than a mount.
    static DATA: LazyLock<Dataset> = LazyLock::new(|| Dataset::generate(3, 256, DIM, 1));
    let data = &*DATA;
    let path = mount.join("base.f32");
    fs::write(&path, dataset::bytes(&data.base)).context("writing a file of rows")?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let attached = attach(&file, &Declaration::flat(DIM as u32)).context("ATTACH");
    if attached.is_err() {
        drop(file);
        reads_back_and_goes(&path, data)?;
        return attached.map(drop);
    }
    let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
    for row in [0, 100, 255] {
        let hits = searcher.search(&file, data.row(row)).context("SEARCH")?;
        require!(
            hits.len() == 1 && hits[0].row == row as u64 && hits[0].distance == 0,
            "row {row} is not its own nearest neighbour: {hits:?}"
        );
    }
    let stats = stats(&file, 0).context("STATS")?;
    require!(
        stats.home == Home::Kernel as u32 && stats.searches == 3,
        "3 searches in the kernel are counted as {} searches in home {}",
        stats.searches,
        stats.home
    );
    drop(file);
    reads_back_and_goes(&path, data)
}

fn reads_back_and_goes(path: &Path, data: &Dataset) -> Result<(), Failure> {
    require!(fs::read(path)? == dataset::bytes(&data.base), "the file's bytes have changed");
    Ok(fs::remove_file(path)?)
}

/// Checks that the files on `mount`, where `home` is not the reference, know the contract's ioctls.
/// Trials that wait for an ioctl, or run a program that sends one, check this first: ENOTTY then
/// comes as an errno, and the message says that the contract asks more than POSIX.
///
/// # Errors
/// ENOTTY, or another error of ATTACH.
pub(crate) fn own_knows_requests(home: Home, mount: &Path) -> Result<(), Failure> {
    if !is_own(home)? {
        return Ok(());
    }
    let path = mount.join("asked");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let file = file.context("making a file")?;
    let attached = attach(&file, &Declaration::flat(1)).context("ATTACH");
    drop(file);
    // Also if it knows no ATTACH: some file systems keep their files from mount to mount.
    fs::remove_file(path).context("removing a file")?;
    attached.map(drop)
}

/// Like [`use_it`], but a module other than the reference may also be used as a plain file system.
/// This serves the load/unload cycles.
pub(crate) fn use_what_there_is(mount: &Path) -> Result<Used, Failure> {
    match use_it(mount) {
        Ok(()) => Ok(Used::AsVexfs),
        Err(failure) if failure.errno() == Some(Errno::ENOTTY) && is_own(Home::Kernel)? => {
            Ok(Used::AsFileSystem)
        }
        Err(failure) => Err(failure),
    }
}
