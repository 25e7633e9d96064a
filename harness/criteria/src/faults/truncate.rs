//! Kills a truncate(2) halfway, when the file has shrunk a part of the way. That is a change like
//! any other, so the file's times must move and its set-ID bits must be cleared.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homes::filesystem::{SOMEBODY, as_user};
use homes::kernel::{KernelMount, ModuleFile};
use machine::child::Running;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{part, require};
use measure::dataset::{self, Dataset};
use nix::sys::signal::{Signal, kill};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde::{Deserialize, Serialize};
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, attach, stats};

use crate::trial::Context;

/// The child process that is killed in its truncate(2).
pub const PART: &str = "truncate";
const DIM: usize = 16;
const ROW: usize = DIM * size_of::<f32>();
const ROWS: usize = 1_600;
/// More than half of the rows, because with fewer the module makes a new graph.
const LEFT: usize = 900;
/// Enough for a few hundred rows of a graph on an emulated CPU.
const LIMIT: Duration = Duration::from_secs(300);
/// How often to try until a signal arrives in the middle of the call.
const TIMES: usize = 30;
const NAME: &str = "f";

/// The child's order: the length to truncate to.
#[derive(Serialize, Deserialize)]
struct TruncateRequest {
    directory: PathBuf,
    length: i64,
}

/// When the signal arrived, seen from the truncate(2).
#[derive(PartialEq)]
enum KilledWhen {
    Before,
    Amidst,
    Behind,
}

pub(super) fn moves_the_times(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let data = Dataset::generate(41, ROWS, DIM, 1);
    let mut tries = 0;
    while killed_once(mount.path(), &data)? != KilledWhen::Amidst {
        tries += 1;
        require!(
            tries < TIMES,
            "in {TIMES} tries no signal interrupted a truncate(2) of {ROWS} rows of a graph to \
             {LEFT} halfway"
        );
    }
    context.fact("tries until a signal came in the midst", tries + 1)?;
    mount.unmount()?;
    loaded.unload()
}

/// Kills a truncate(2) once its first rows are gone. The caller may write to the file and does not
/// own it.
fn killed_once(mount: &Path, data: &Dataset) -> Result<KilledWhen, Failure> {
    let path = mount.join(NAME);
    fs::write(&path, dataset::bytes(&data.base))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let graph = Declaration { kind: Kind::Hnsw, ..Declaration::flat(DIM as u32) };
    attach(&file, &graph).context("ATTACH")?;
    fs::set_permissions(&path, Permissions::from_mode(0o6777))?;
    let old = Timespec { tv_sec: 1, tv_nsec: 1 };
    utimensat(
        CWD,
        &path,
        &Timestamps { last_access: old, last_modification: old },
        AtFlags::empty(),
    )?;
    let before = file.metadata()?;

    let order = TruncateRequest { directory: mount.to_owned(), length: (LEFT * ROW) as i64 };
    let child = Running::start(&mut part::command(PART, &order)?)?;
    wait_for("the first rows to be cut off", LIMIT, || {
        Ok((stats(&file, 0).context("STATS")?.rows < ROWS as u64).then_some(()))
    })?;
    kill(child.pid(), Signal::SIGKILL).context("kill")?;
    let ended = child.finish(LIMIT)?;
    let was_killed = ended.status.signal() == Some(Signal::SIGKILL as i32);
    require!(
        was_killed || ended.status.success(),
        "truncate ended with {}: {}",
        ended.status,
        ended.tail()
    );

    let after = file.metadata()?;
    let indexed = stats(&file, 0).context("STATS")?.rows;
    require!(
        indexed == after.len() / ROW as u64,
        "{indexed} rows are indexed, but the file has {} after a truncate that was killed",
        after.len() / ROW as u64
    );
    if after.len() < before.len() {
        let changed = (after.ctime(), after.ctime_nsec()) > (before.ctime(), before.ctime_nsec());
        let modified = (after.mtime(), after.mtime_nsec()) != (1, 1);
        let mode = after.mode() & 0o7777;
        require!(
            changed && modified && mode == 0o777,
            "a killed truncate shortened the file to {} of {} bytes; mtime moved: {modified}, \
             ctime moved: {changed}, mode {mode:o}, expected 777",
            after.len(),
            before.len()
        );
    }
    fs::remove_file(&path).context("unlink")?;
    Ok(match after.len() as usize / ROW {
        ROWS => KilledWhen::Before,
        LEFT => KilledWhen::Behind,
        _ => KilledWhen::Amidst,
    })
}

/// Truncates the file as another user; it is killed in that call.
///
/// # Errors
/// Any failure other than being killed.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: TruncateRequest = serde_json::from_str(order).context("parsing the order")?;
    // Only root can reach the directory of the mount; from inside it the name is enough.
    std::env::set_current_dir(&order.directory).context("chdir")?;
    as_user(SOMEBODY, SOMEBODY, || {
        nix::unistd::truncate(NAME, order.length).context("truncate to a smaller size")
    })
}
