//! The module's containment: it refuses mounts in user namespaces, and charges an index's memory to the
//! cgroup of the process that attached it.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use homes::filesystem::contract;
use homes::kernel::{KernelMount, MemoryCgroup, ModuleFile, names};
use machine::child::output;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::under_test::Program;
use machine::{part, require};
use measure::dataset::{self, Dataset};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vexfs_uapi::Home;
use vexfs_uapi::client::{detach, stats};

use crate::trial::Context;
use crate::watched::own_knows_requests;

/// The process that mounts in a user namespace.
pub(super) const PART: &str = "user-namespace";

/// What this process is to mount.
#[derive(Serialize, Deserialize)]
struct MountOrder {
    kind: String,
    at: PathBuf,
}

/// Limit for a program that mounts or attaches, on an emulated CPU.
const LIMIT: Duration = Duration::from_secs(120);

/// A mount may take half of the machine's memory, so a user who is root only in a user namespace
/// must not be able to make one.
pub(super) fn refuses_user_namespaces(_: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = |kind: &str| -> Result<Option<Errno>, Failure> {
        let directory = tempfile::tempdir()?;
        let order = MountOrder { kind: kind.to_owned(), at: directory.path().to_owned() };
        let answered: part::Answered<i32> = part::ask(part::command(PART, &order)?, LIMIT)?;
        Ok((answered.answer != 0).then(|| Errno::from_raw(answered.answer)))
    };
    // A tmpfs can be mounted in any user namespace, so this shows that the namespace works.
    let other = mount("tmpfs")?;
    require!(other.is_none(), "a tmpfs cannot be mounted there either: {other:?}");
    let kind = &names().file_system;
    let ours = mount(kind).map(|ours| ours.map_or("done".to_owned(), |errno| errno.to_string()))?;
    if ours != Errno::EPERM.to_string() {
        let told = format!("a mount of {kind} in a user namespace: {ours}, expected EPERM");
        return Err(contract::user_namespace(Failure::new(told)));
    }
    loaded.unload()
}

/// Mounts as the root of a user namespace of its own, and answers with the errno, or 0. The mount
/// goes with this process, because its mount namespace is its own, too.
///
/// # Errors
/// If there is no such namespace.
pub(super) fn play(order: &str) -> Result<(), Failure> {
    let order: MountOrder = serde_json::from_str(order).context("parsing the order")?;
    let (uid, gid) = (geteuid(), getegid());
    // The file is the parent's, which root of another user namespace may not look at.
    let asker = part::Asker::find()?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).context("unshare")?;
    fs::write("/proc/self/setgroups", "deny").context("setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("gid_map")?;
    let (kind, none) = (order.kind.as_str(), None::<&str>);
    let mounted = mount(Some("none"), &order.at, Some(kind), MsFlags::empty(), none);
    asker.answer(&mounted.err().map_or(0, |errno| errno as i32))
}

/// Checks that a process in a cgroup of its own is charged for the index that it attaches. The
/// process has ended by the time of DETACH, so what DETACH gives back to the cgroup is the index.
pub(super) fn indexes_count_in_cgroups(context: &Context) -> Result<(), Failure> {
    const DIM: usize = 64;
    const ROWS: usize = 20_000;
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    own_knows_requests(Home::Kernel, mount.path())?;
    let path = mount.path().join("base.f32");
    fs::write(&path, dataset::bytes(&Dataset::generate(7, ROWS, DIM, 1).base))?;
    let cgroup = MemoryCgroup::new()?;
    let mut attach = Command::new(Program::Vexctl.build_if_missing()?);
    attach.arg("attach").arg(&path).args(["--kind", "flat", "--dim", &DIM.to_string()]);
    cgroup.joins(&mut attach)?;
    let done = output(&mut attach, LIMIT).context("vexctl attach")?;
    let said = String::from_utf8_lossy(&done.stderr);
    require!(done.status.success(), "vexctl attach: {}: {said}", done.status);

    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let memory = stats(&file, 0).context("STATS")?.memory;
    require!(memory >= (ROWS * DIM) as u64, "an index of {ROWS} rows uses only {memory} bytes");
    let attached = cgroup.charged()?;
    detach(&file, 0).context("DETACH")?;
    // The kernel gives charges back in batches, so 5 % of the index may be missing.
    let given_back = format!("{memory} bytes of an index, given back to its creator's cgroup");
    let detached = wait_for(given_back, Duration::from_secs(5), || {
        let charged = cgroup.charged()?;
        Ok((attached.saturating_sub(charged) >= memory / 100 * 95).then_some(charged))
    })?;
    context.fact(
        "cgroup",
        json!({"index": memory, "charged": {"attached": attached, "detached": detached}}),
    )?;
    drop(file);
    mount.unmount()?;
    loaded.unload()
}
