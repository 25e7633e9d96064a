//! While a write is over the limit of its memory cgroup, where each of its pages costs it a wait, all
//! other users of the mount are served.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use homes::filesystem::SOMEBODY;
use homes::kernel::{KernelMount, MemoryCgroup, ModuleFile};
use machine::child::Running;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{part, require};
use nix::sys::signal::{Signal, kill};

use crate::busy::{LIMIT, REQUESTS, answered, busy, open_to_all};
use crate::trial::Context;

/// The part that writes.
pub const PART: &str = "throttled";
/// From where on its cgroup has to wait, and what it writes at once.
const HIGH: u64 = 64 << 20;
const WRITTEN: usize = 384 << 20;

pub(super) fn others_are_answered(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=512M")?;
    let root = mount.path();
    open_to_all(root)?;
    fs::write(busy(root), [1; 64 * 3])?;
    fs::set_permissions(busy(root), Permissions::from_mode(0o666)).context("chmod of the file")?;

    let cgroup = MemoryCgroup::new()?;
    cgroup.waits_above(HIGH)?;
    let mut command = part::command(PART, &busy(root))?;
    cgroup.joins(&mut command)?;
    let writing = Running::start(&mut command)?;
    wait_for("a write that is over the limit of its cgroup", LIMIT, || {
        Ok((cgroup.charged()? > HIGH).then_some(()))
    })?;
    for (who, uid) in [("root", 0), ("another user", SOMEBODY)] {
        answered(who, uid, root, REQUESTS, "while a write is over the limit of its cgroup")?;
    }
    context.fact("requests that were answered meanwhile", 2 * REQUESTS.len())?;
    // Had it ended before, nothing would have been shown.
    kill(writing.pid(), Signal::SIGKILL).context("kill")?;
    let ended = writing.finish(LIMIT)?;
    require!(
        ended.status.signal() == Some(libc::SIGKILL),
        "the write ended before all requests were answered, with {}: {}",
        ended.status,
        ended.tail()
    );
    drop(cgroup);
    mount.unmount()?;
    loaded.unload()
}

/// Writes zeros, which take no memory of the process's own.
///
/// # Errors
/// What the kernel says of that.
pub fn play(order: &str) -> Result<(), Failure> {
    let path: PathBuf = serde_json::from_str(order).context("parsing the order")?;
    let mut file = OpenOptions::new().write(true).open(&path)?;
    let zeros = vec![0; WRITTEN];
    file.write_all(&zeros).context("write")
}
