//! What the foreign file systems stand on, and what they are compared with: tmpfs.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use machine::child::Running;
use machine::failure::Failure;
use machine::mount::unmount_by_force;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
/// A tmpfs that every user may write to, on any Linux.
const OF_ALL: &str = "/dev/shm";

/// A tmpfs of its own; unmounted on every path.
pub struct Tmpfs(TempDir);

impl Tmpfs {
    /// Mounted with `options`, which root alone may do.
    pub fn new(options: &str) -> Result<Tmpfs, Failure> {
        let directory = tempfile::Builder::new().prefix("f").rand_bytes(6).tempdir_in("/tmp")?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(directory.path());
        Running::start(&mut mount)?.finish(LIMIT)?.must_succeed("mount -t tmpfs")?;
        let tmpfs = Tmpfs(directory);
        set_permissions(tmpfs.path(), Permissions::from_mode(0o755))?;
        Ok(tmpfs)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // What uses it still goes with it.
        let _ = unmount_by_force(self.path());
    }
}

/// What the file systems stand on: a tmpfs of the lane's own where it may mount one, so that none
/// can take all memory, else the one of all users.
pub struct Ground(Option<Tmpfs>);

impl Ground {
    /// Mounted, where that may be.
    pub fn new() -> Result<Ground, Failure> {
        let root = nix::unistd::geteuid().is_root();
        Ok(Ground(root.then(|| Tmpfs::new("size=4G")).transpose()?))
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.0.as_ref().map_or_else(|| OF_ALL.into(), |tmpfs| tmpfs.path().to_owned())
    }
}
