//! When a daemon is ready: how it announces its mount, and checks whether the mount answers.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use machine::failure::Failure;
use machine::mount::is_mounted;
use machine::{fail, require};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, FsType, statfs};

/// How long a trial waits for a daemon to mount. An emulated guest on a busy machine needs seconds
/// for what a quiet host does in milliseconds.
pub const MOUNT_LIMIT: Duration = Duration::from_secs(30);

/// The longest time in milliseconds that this process waits for a daemon, whatever for.
static PATIENCE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Limits every wait of this process for a daemon to `limit`, for a person who is watching.
pub fn wait_no_longer_than(limit: Duration) {
    let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    PATIENCE.store(milliseconds, Ordering::SeqCst);
}

/// `usual`, or the limit of this process if that is shorter.
pub(super) fn patience(usual: Duration) -> Duration {
    usual.min(Duration::from_millis(PATIENCE.load(Ordering::SeqCst)))
}

/// How long a daemon may take to mount, and to answer.
pub(super) fn mount_limit() -> Duration {
    patience(MOUNT_LIMIT)
}

/// How a daemon announces that its mount exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It takes `--ready-fd FD` and writes a line there when it is serving, as the reference does.
    Descriptor,
    /// It announces nothing: the mount point is checked until a FUSE file system answers there.
    Unannounced,
}

/// Whether a FUSE file system is served at `path` now.
pub(super) fn is_fuse(path: &Path) -> Result<bool, Failure> {
    if !is_mounted(path)? {
        return Ok(false);
    }
    let Some(kind) = kind_of(path)? else { return Ok(false) };
    require!(
        kind == FUSE_SUPER_MAGIC,
        "what it mounted has type {:#x}, which is not FUSE's",
        kind.0
    );
    Ok(true)
}

/// The type that the file system mounted at `path` reports; `None` if statfs(2) fails.
fn kind_of(path: &Path) -> Result<Option<FsType>, Failure> {
    answered(path, "statfs(2)", |path| statfs(path).ok().map(|stat| stat.filesystem_type()))
}

/// Checks that the root answers a lookup. A daemon may answer statfs(2) before it is serving.
/// Making a directory in such a root would hold the root's lock, and a daemon that first opens
/// something on its own mount would wait for that lock for ever.
pub(super) fn serves(mountpoint: &Path) -> Result<(), Failure> {
    answered(mountpoint, "a lookup in the root", |path| {
        // Any answer will do.
        let _ = path.join(".vexfs-validation-asks").symlink_metadata();
    })
}

/// The result of `ask`. It runs in a thread of its own, because a daemon that hangs blocks that
/// thread until its mount is aborted.
pub(super) fn answered<T: Send + 'static>(
    path: &Path,
    what: &str,
    ask: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, Failure> {
    let (tell, hear) = mpsc::channel();
    let asked = path.to_owned();
    thread::spawn(move || {
        // If the answer comes too late, nobody receives it.
        let _ = tell.send(ask(&asked));
    });
    match hear.recv_timeout(mount_limit()) {
        Ok(answer) => Ok(answer),
        Err(_) => fail!(
            "the FUSE daemon has mounted, but does not answer: {what} of {} is not done within \
             {} s",
            path.display(),
            mount_limit().as_secs()
        ),
    }
}
