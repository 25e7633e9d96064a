//! A file gets a set-ID bit while rows are written to it. Its bytes change afterwards, so the bit
//! must not outlive the write.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;

use homes::filesystem::{SOMEBODY, as_user};
use homes::kernel::{KernelMount, ModuleFile};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset::{self, Dataset};
use vexfs_uapi::client::{Declaration, attach};
use vexfs_uapi::{Home, Kind};

use crate::busy::{LIMIT, open_to_all};
use crate::trial::Context;
use crate::watched::own_knows_requests;

const DIM: usize = 16;
const ROW: u64 = (DIM * size_of::<f32>()) as u64;
/// Enough rows to keep a graph busy for a while, but less than the mebibyte that the module takes
/// at once: if the module checked the mode before each mebibyte, it would find the bit.
const ROWS: usize = 3_000;
/// On a machine that is fast or busy, the write may end before the bit is set.
const TRIES: usize = 10;
const SET_ID: u32 = 0o4777;

pub(super) fn end_with_the_write(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    own_knows_requests(Home::Kernel, mount.path())?;
    open_to_all(mount.path())?;
    let mut tries = 1;
    while !is_given_within(mount.path())? {
        require!(tries < TRIES, "the write finished before the bit was set, {TRIES} times");
        tries += 1;
    }
    context.fact("tries until the bit was set within the write", tries)?;
    mount.unmount()?;
    loaded.unload()
}

/// Sets the bit during a write. Returns whether the write was under way, so that some rows had
/// changed and others had not.
fn is_given_within(root: &Path) -> Result<bool, Failure> {
    let path = root.join("rows.f32");
    let rows = Dataset::generate(43, ROWS, DIM, 1);
    fs::write(&path, dataset::bytes(rows.row(0)))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    attach(&file, &Declaration { kind: Kind::Hnsw, ..Declaration::flat(DIM as u32) })
        .context("ATTACH")?;
    fs::set_permissions(&path, Permissions::from_mode(0o666)).context("chmod of the file")?;
    let before = fs::metadata(&path)?;

    let (tells, ended) = channel();
    let writable = path.clone();
    let changing = thread::spawn(move || {
        as_user(SOMEBODY, SOMEBODY, || {
            let file = OpenOptions::new().write(true).open(&writable)?;
            let changed = file.write_all_at(dataset::bytes(&rows.base), ROW);
            // The receiver may be gone if the bit was not set in time.
            let _ = tells.send(());
            Ok(changed?)
        })
    });
    let begun = wait_for("the write to have begun", LIMIT, || {
        let now = fs::metadata(&path)?;
        let through = !matches!(ended.try_recv(), Err(TryRecvError::Empty));
        let begun = now.size() != before.size();
        Ok((begun || through).then_some(begun && !through))
    })?;
    fs::set_permissions(&path, Permissions::from_mode(SET_ID)).context("chmod within it")?;
    let within = begun && matches!(ended.try_recv(), Err(TryRecvError::Empty));
    let changed =
        changing.join().unwrap_or_else(|_| Err(Failure::new("the thread that changes panicked")));
    changed.context("the write")?;
    let mode = fs::metadata(&path)?.mode() & 0o7777;
    require!(
        !within || mode == 0o777,
        "a write of another user went on in a file that became a set-ID program meanwhile, and left \
         it mode {mode:o}"
    );
    drop(file);
    fs::remove_file(&path)?;
    Ok(within)
}
