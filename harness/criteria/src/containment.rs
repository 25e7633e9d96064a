//! The module's containment: it refuses mounts in user namespaces, and charges an index's memory to the
//! cgroup of the process that attached it.

use std::fs::{self, OpenOptions};
use std::process::Command;
use std::time::Duration;

use homes::kernel::{KernelMount, MemoryCgroup, ModuleFile, names};
use machine::child::output;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::require;
use machine::under_test::Program;
use measure::dataset::{self, Dataset};
use serde_json::json;
use vexfs_uapi::Home;
use vexfs_uapi::client::{detach, stats};

use crate::trial::Context;
use crate::watched::own_knows_requests;

/// Limit for a program that mounts or attaches, on an emulated CPU.
const LIMIT: Duration = Duration::from_secs(120);

/// A mount may take half of the machine's memory, so a user who is root only in a user namespace
/// must not be able to make one.
pub(super) fn refuses_user_namespaces(_: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = |kind: &str| {
        let directory = tempfile::tempdir()?;
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "mount", "-t", kind, "none"]);
        unshare.arg(directory.path()).env("LC_ALL", "C");
        output(&mut unshare, LIMIT)
    };
    // A tmpfs can be mounted in any user namespace, so this shows that the namespace works.
    let other = mount("tmpfs")?;
    let said = String::from_utf8_lossy(&other.stderr);
    require!(other.status.success(), "a tmpfs cannot be mounted there either: {said}");
    let kind = &names().file_system;
    let ours = mount(kind)?;
    let said = String::from_utf8_lossy(&ours.stderr);
    require!(
        !ours.status.success() && said.contains("permission denied"),
        "a mount of {kind} ended with {} and said {said:?}, EPERM is due",
        ours.status
    );
    loaded.unload()
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
    require!(memory >= (ROWS * DIM) as u64, "an index of {ROWS} rows holds {memory} bytes");
    let attached = cgroup.charged()?;
    detach(&file, 0).context("DETACH")?;
    // The kernel gives charges back in batches, so 5 % of the index may be missing.
    let given_back = format!("{memory} bytes of an index, given back to the cgroup of who made it");
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
