//! Tries to unload the module while it is in use, and while others begin to use it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use homes::filesystem::requests_end_well;
use homes::kernel::{KernelMount, LoadedModule, ModuleFile, mount_command};
use homes::torture::scale;
use machine::child::Running;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use crate::trial::Context;

/// Attempts to unload a module in use.
const ATTEMPTS: u32 = 300;
/// Cycles of loading and unloading while another process mounts.
const CYCLES: u32 = 20;
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn refused_under_load(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let attempts = ATTEMPTS * scale()?;
    requests_end_well(mount.path(), &[], || refuses(&loaded, attempts))?;
    context.fact("attempts refused", attempts)?;
    mount.unmount()?;
    loaded.unload()
}

/// Tries `attempts` times to unload a module in use; each attempt must be refused.
pub(crate) fn refuses(loaded: &LoadedModule, attempts: u32) -> Result<(), Failure> {
    for _ in 0..attempts {
        match loaded.try_unload() {
            Err(Errno::EWOULDBLOCK) => {}
            other => machine::fail!("unloading under load gave {other:?}, expected EWOULDBLOCK"),
        }
    }
    Ok(())
}

/// The mount point of the other process, which may leave a mount there.
struct MountPoint(TempDir);

impl Drop for MountPoint {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// Keeps the kernel from loading modules of its own accord as long as it lives.
///
/// A mount(2) that comes while our module unloads finds no such file system, and the kernel then
/// asks modprobe for `fs-NAME`. Where the kernel has a module of that name itself, that one would be
/// loaded in ours' place.
struct NoAutoload(Vec<u8>);

impl NoAutoload {
    const HELPER: &str = "/proc/sys/kernel/modprobe";

    fn begin() -> Result<NoAutoload, Failure> {
        let before = fs::read(Self::HELPER).context(Self::HELPER)?;
        fs::write(Self::HELPER, "\n").context(Self::HELPER)?;
        Ok(NoAutoload(before))
    }
}

impl Drop for NoAutoload {
    fn drop(&mut self) {
        let _ = fs::write(Self::HELPER, &self.0);
    }
}

/// Mounts with the command in the remaining arguments and unmounts, as long as the file $1 exists.
/// Appends a byte to $3 for each mount on $2 that succeeds.
const MOUNTER: &str = r#"
wanted=$1 point=$2 mounts=$3
shift 3
while [ -e "$wanted" ]; do
  "$@" || continue
  printf . >>"$mounts"
  umount "$point" || exit
done"#;

pub(crate) fn races_with_mounts(context: &Context) -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let [wanted, mounts] = ["wanted", "mounts"].map(|name| scratch.path().join(name));
    fs::write(&wanted, "")?;
    fs::write(&mounts, "")?;
    let point = MountPoint(tempfile::tempdir()?);
    let mut command = Command::new("sh");
    command.args(["-c", MOUNTER, "mounter"]).arg(&wanted).arg(point.0.path()).arg(&mounts);
    let mount = mount_command("size=1M", point.0.path())?;
    command.arg(mount.get_program()).args(mount.get_args());
    if let Some(directory) = mount.get_current_dir() {
        command.current_dir(directory);
    }
    let _no_autoload = NoAutoload::begin()?;
    let mounter = Running::start(&mut command)?;
    let file = ModuleFile::of_running_kernel()?;
    let done = || -> Result<u64, Failure> { Ok(fs::metadata(&mounts)?.len()) };
    for cycle in 0..CYCLES * scale()? {
        let before = done()?;
        let loaded = file.load()?;
        // In every other cycle, wait until the other process has mounted; in the rest, unload as
        // soon as possible.
        if cycle % 2 == 0 {
            wait_for("a mount by another process", LIMIT, || Ok((done()? > before).then_some(())))?;
        }
        loaded.unload_within(LIMIT)?;
    }
    fs::remove_file(&wanted)?;
    mounter.finish(LIMIT)?.must_succeed("mount and umount by another process")?;
    context.fact("mounts in the meantime", done()?)
}
