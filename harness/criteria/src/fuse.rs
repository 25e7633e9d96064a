//! Criterion 1: FUSE works as a file system, and goes on working while the module is loaded and
//! unloaded.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use evidence::place::Place;
use homes::Mounted;
use homes::filesystem::quick_operations;
use homes::fuse::{Foreground, FuseMount, NothingLeft};
use homes::kernel::{KernelMount, ModuleFile};
use machine::child::{Running, in_words};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::mount::{is_mounted, unmount};
use machine::{config, require};
use nix::sys::signal::Signal;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};
use nix::unistd::geteuid;
use vexfs_uapi::Home;
use vexfs_uapi::client::{Declaration, attach, stats};

use super::watched::{self, watched};
use super::{adversary, both_homes, counted, faults, killed_changes, load, torture, walk};
use crate::requirement::Requirement;
use crate::trial::{Body, Context, Trial};

const EVERYWHERE: &[Place] = &[Place::Host, Place::Guest];
/// Limit for one operation, in an emulated guest.
const EACH_LIMIT: Duration = Duration::from_secs(600);
/// On a quiet machine none of these trials takes a tenth of this.
const OWN_LIMIT: Duration = Duration::from_secs(300);
/// A daemon must refuse a bad mount point within this time.
const REFUSAL_LIMIT: Duration = Duration::from_secs(30);
const NEEDS: &[Requirement] = &[Requirement::DevFuse, Requirement::FuseDaemon];

/// The trials of the criterion.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let own: [(&str, Body); 7] = [
        ("fuse::mounts_as_fuse", mounts_as_fuse),
        ("fuse::unmount_leaves_nothing", unmount_leaves_nothing),
        ("fuse::signals_unmount", signals_unmount),
        ("fuse::fusermount_unmounts", fusermount_unmounts),
        ("fuse::a_successor_keeps_its_mount", successors),
        ("fuse::searches_are_served_by_fuse", served_by_fuse),
        ("fuse::bad_mount_points_are_refused", bad_mount_points),
    ];
    let own =
        own.map(|(name, body)| Trial::new(name, EVERYWHERE, body).needs(NEEDS).within(OWN_LIMIT));
    let others = std::iter::once(both_homes::forced_unmount(Home::Fuse))
        .chain(own)
        .chain([around_the_module(), emptied_directories(), removed_files()])
        .chain(adversary::trials(Home::Fuse))
        .chain(torture::trials(Home::Fuse))
        .chain(walk::trials())
        .chain(load::trials(Home::Fuse))
        .chain(faults::trials(Home::Fuse))
        .chain(killed_changes::trials(Home::Fuse));
    // Each operation has a process of its own already.
    both_homes::operations(Home::Fuse).chain(others.map(Trial::apart)).collect()
}

/// No regression: the same operations on FUSE before the module is loaded, while it is loaded, and
/// after it is gone must end the same way.
fn around_the_module() -> Trial {
    Trial::new("fuse::no_regression_around_the_module", &[Place::Guest], |context| {
        watched(context, |context| {
            let before = all_operations()?;
            let loaded = ModuleFile::of_running_kernel()?.load()?;
            let kernel = KernelMount::new("size=64M")?;
            let during = all_operations()?;
            kernel.unmount()?;
            loaded.unload()?;
            let after = all_operations()?;
            context.fact("operations before, during, after", [&before, &during, &after])?;
            for (when, outcomes) in [("while it is loaded", &during), ("after it is gone", &after)]
            {
                require!(
                    *outcomes == before,
                    "FUSE behaves differently {when} than before the module was loaded:\n{}",
                    difference(&before, outcomes)
                );
            }
            let failed: Vec<&String> = before.values().flatten().collect();
            require!(failed.is_empty(), "{failed:?}");
            Ok(())
        })
    })
    .needs(NEEDS)
    .needs(&[Requirement::Vexctl])
    .needs(watched::NEEDS)
    .alone()
}

/// On the host only: it makes so many requests that it would be slow in an emulated guest.
fn emptied_directories() -> Trial {
    let name = "fuse::emptied_directories_keep_no_memory";
    Trial::new(name, &[Place::Host], counted::emptied_directories_keep_no_memory)
        .needs(NEEDS)
        .within(OWN_LIMIT)
}

/// On the host only, as the one before it.
fn removed_files() -> Trial {
    let name = "fuse::removed_files_keep_no_memory";
    Trial::new(name, &[Place::Host], counted::removed_files_keep_no_memory)
        .needs(NEEDS)
        .within(OWN_LIMIT)
}

/// The failure of each operation, or `None` if it passed.
type Outcomes = BTreeMap<&'static str, Option<String>>;

fn all_operations() -> Result<Outcomes, Failure> {
    let mounted = Mounted::new(Home::Fuse, "256M")?;
    let outcomes = quick_operations().map(|one| {
        let outcome = one.run_apart(mounted.path(), EACH_LIMIT);
        (one.name, outcome.err().map(|failure| failure.to_string()))
    });
    let outcomes = outcomes.collect();
    mounted.unmount()?;
    Ok(outcomes)
}

fn difference(before: &Outcomes, after: &Outcomes) -> String {
    let lines: Vec<String> = before
        .iter()
        .filter(|&(name, outcome)| after.get(name) != Some(outcome))
        .map(|(name, outcome)| format!("{name}: {outcome:?} before, {:?} now", after.get(name)))
        .collect();
    lines.join("\n")
}

fn mounts_as_fuse(context: &Context) -> Result<(), Failure> {
    let mut mount = FuseMount::under_test()?;
    let line = listed_as_fuse(mount.path());
    context.fact("mount", line.map_err(|failure| mount.explain(failure))?)?;
    mount.unmount()
}

/// The mount's line in the list of mounts.
fn listed_as_fuse(mountpoint: &Path) -> Result<String, Failure> {
    let kind = statfs(mountpoint).context("statfs")?.filesystem_type();
    require!(kind == FUSE_SUPER_MAGIC, "the mount's type is {:#x}, not FUSE's", kind.0);
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let path = mountpoint.display().to_string();
    let Some(line) = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&path)) else {
        machine::fail!("{path} is not in /proc/self/mounts");
    };
    let file_system = line.split(' ').nth(2).unwrap_or_default();
    require!(file_system.starts_with("fuse"), "mounted as {file_system}: {line}");
    Ok(line.to_owned())
}

fn unmount_leaves_nothing(_: &Context) -> Result<(), Failure> {
    for _ in 0..3 {
        let mut mount = FuseMount::under_test()?;
        write_a_file(&mut mount)?;
        // `unmount` checks that mount, directory and process are gone.
        mount.unmount()?;
    }
    Ok(())
}

fn signals_unmount(_: &Context) -> Result<(), Failure> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut mount = FuseMount::under_test()?;
        write_a_file(&mut mount)?;
        mount.end_by(signal)?;
    }
    Ok(())
}

fn write_a_file(mount: &mut FuseMount) -> Result<(), Failure> {
    let path = mount.path().join("f");
    let written = fs::write(&path, "gone with the mount").context("writing a file");
    written.map_err(|failure| mount.explain(failure))
}

fn fusermount_unmounts(_: &Context) -> Result<(), Failure> {
    Requirement::Fusermount.check()?;
    let mount = FuseMount::under_test()?;
    mount.fusermount()
}

/// After unmounting and at once mounting again, as an update does, the new mount must stay: the old
/// daemon, which takes a moment to end, may take down only its own mount.
fn successors(_: &Context) -> Result<(), Failure> {
    const ROUNDS: u32 = 10;
    const WRITTEN: &[u8] = b"written";
    let directory = tempfile::Builder::new().prefix("vexfs-again-").tempdir()?;
    let mountpoint = directory.path().canonicalize()?.join("mnt");
    fs::create_dir(&mountpoint)?;
    let _guard = NothingLeft::on(&mountpoint);
    let gone = |round: u32| {
        Failure::new(format!(
            "round {round}: the mount was made and has gone, though nobody unmounted it"
        ))
    };
    let mut predecessor: Option<Foreground> = None;
    for round in 0..ROUNDS {
        let daemon = Foreground::start(&mountpoint)?;
        // Until the daemon has mounted, the directory beneath is visible.
        let mounted = wait_for("the daemon's mount", REFUSAL_LIMIT, || {
            let mounted = daemon.has_mounted()?;
            Ok((mounted || daemon.has_ended()?).then_some(mounted))
        });
        if !mounted.context(format!("round {round}"))? {
            let ended = daemon.finish(REFUSAL_LIMIT).context(format!("round {round}"))?;
            ended.must_succeed(&format!("round {round}: the daemon, before it had mounted,"))?;
            // Its mount was taken down before we saw it.
            return Err(gone(round));
        }
        let file = mountpoint.join("f");
        fs::write(&file, WRITTEN).context(format!("round {round}"))?;
        if let Some(predecessor) = predecessor.replace(daemon) {
            predecessor.finish(REFUSAL_LIMIT).context("the previous daemon")?;
        }
        if !is_mounted(&mountpoint)? {
            return Err(gone(round));
        }
        let mut read = Vec::new();
        let at_most = File::open(&file).map(|file| file.take(2 * WRITTEN.len() as u64));
        let done = at_most.and_then(|mut file| file.read_to_end(&mut read));
        done.context(format!("round {round}"))?;
        require!(read == WRITTEN, "round {round}: what was written is not there");
        unmount_as_a_user(&mountpoint).context(format!("round {round}"))?;
    }
    if let Some(last) = predecessor {
        last.finish(REFUSAL_LIMIT).context("the last daemon")?;
    }
    let left = Foreground::end_all_of(&mountpoint)?;
    require!(left.is_empty(), "the daemons left {} behind", left.join(", "));
    Ok(())
}

fn unmount_as_a_user(mountpoint: &Path) -> Result<(), Failure> {
    if geteuid().is_root() {
        return unmount(mountpoint);
    }
    let mut command = Command::new("fusermount3");
    command.arg("-u").arg(mountpoint);
    Running::start(&mut command)?.finish(REFUSAL_LIMIT)?.must_succeed("fusermount3 -u")
}

fn served_by_fuse(context: &Context) -> Result<(), Failure> {
    let mut mount = FuseMount::under_test()?;
    let engine = engine_of_fuse(mount.path());
    context.fact("engine", engine.map_err(|failure| mount.explain(failure))?)?;
    mount.unmount()
}

fn engine_of_fuse(root: &Path) -> Result<String, Failure> {
    let path = root.join("base.f32");
    let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
    attach(&file, &Declaration::flat(8)).context("ATTACH")?;
    let stats = stats(&file, 0).context("STATS")?;
    require!(stats.home == Home::Fuse as u32, "the home is {}, not FUSE", stats.home);
    Ok(stats.engine().to_owned())
}

/// Whether the daemon mounts on `path`, rather than ends.
fn serves(daemon: &Foreground, path: &Path) -> Result<bool, Failure> {
    wait_for("the daemon to mount or to end", REFUSAL_LIMIT, || {
        Ok(if daemon.has_mounted()? || is_mounted(path)? {
            Some(true)
        } else {
            daemon.has_ended()?.then_some(false)
        })
    })
}

/// A bad mount point must be refused, and nothing may be left behind. A daemon on libfuse may mount on
/// a file and on an existing mount, and others make the directory that they are to mount on; the
/// reference may not.
fn bad_mount_points(_: &Context) -> Result<(), Failure> {
    let config = config::current()?;
    let own = config.fuse.is_some() || config.mount.fuse.is_some();
    let directory = tempfile::Builder::new().prefix("vexfs-bad-").tempdir()?;
    let room = directory.path().canonicalize()?;
    let file = room.join("file");
    fs::write(&file, "")?;
    let refused = |path: &Path, word: &str| {
        let _guard = NothingLeft::on(path);
        let daemon = Foreground::start(path)?;
        if own && serves(&daemon, path)? {
            drop(daemon);
            Foreground::end_all_of(path)?;
            return Ok(());
        }
        let ended = daemon.finish(REFUSAL_LIMIT);
        let left = Foreground::end_all_of(path)?;
        let ended = ended.context(format!("a mount point that is {word:?}: the daemon runs on"))?;
        let (status, output) = (ended.status, ended.tail());
        // Exit code and message are only fixed for the reference.
        let as_due = if own { !status.success() } else { status.code() == Some(3) };
        require!(
            as_due && (own || output.contains(word)),
            "a mount point that is {word:?}: the daemon {}, expected a refusal: {output}",
            in_words(status)
        );
        require!(left.is_empty(), "a mount point that is {word:?}: it left {}", left.join(", "));
        Ok::<_, Failure>(())
    };
    refused(&room.join("nonexistent"), "does not exist")?;
    // libfuse mounts on a file, too.
    if !own {
        refused(&file, "not a directory")?;
        let mount = FuseMount::under_test()?;
        // If this daemon leaves anything, it goes with the mount's own daemon.
        let ended = Foreground::start(mount.path())?.finish(REFUSAL_LIMIT)?;
        let (status, output) = (ended.status, ended.tail());
        require!(
            status.code() == Some(3) && output.contains("in use"),
            "a mount point that is in use: the daemon {}, expected a refusal: {output}",
            in_words(status)
        );
        mount.unmount()?;
    }
    Ok(())
}
