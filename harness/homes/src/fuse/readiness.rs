//! When a daemon is ready: how it announces its mount, and whether the mount answers.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use machine::failure::Failure;
use machine::mount::is_mounted;
use machine::{fail, require};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, FsType, statfs};

/// How long a trial waits for a daemon to mount: an emulated guest on a busy machine needs seconds where
/// a quiet host needs milliseconds.
pub const MOUNT_LIMIT: Duration = Duration::from_secs(30);

/// Milliseconds that this process waits for a daemon at most, whatever it waits for.
static PATIENCE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Has this process wait for no daemon longer than `limit`: for a person who looks on.
pub fn wait_no_longer_than(limit: Duration) {
    let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    PATIENCE.store(milliseconds, Ordering::SeqCst);
}

/// `usual`, or as long as this process waits at most.
pub(super) fn patience(usual: Duration) -> Duration {
    usual.min(Duration::from_millis(PATIENCE.load(Ordering::SeqCst)))
}

/// How long a daemon may take to mount, and to answer.
pub(super) fn mount_limit() -> Duration {
    patience(MOUNT_LIMIT)
}

/// How a daemon lets others know that its mount is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It takes `--ready-fd FD` and writes a line there when it is serving, as the reference does.
    Descriptor,
    /// It says nothing: the mount point is looked at until a FUSE file system answers there.
    Unannounced,
}

/// Whether a FUSE file system is served there by now.
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

/// What type the file system that is mounted there says that it has; `None` where it refuses to
/// say.
fn kind_of(path: &Path) -> Result<Option<FsType>, Failure> {
    answered(path, "statfs(2)", |path| statfs(path).ok().map(|stat| stat.filesystem_type()))
}

/// That the root answers when it is asked for a name. statfs(2) may be answered by a daemon that
/// is not serving yet; whoever made a directory in such a root would hold its lock, and a daemon
/// that opens something on its own mount to begin with would wait for that lock for ever.
pub(super) fn serves(mountpoint: &Path) -> Result<(), Failure> {
    answered(mountpoint, "a lookup in the root", |path| {
        // Whatever the answer is, it is one.
        let _ = path.join(".vexfs-validation-asks").symlink_metadata();
    })
}

/// What `ask` finds; it is asked by a thread of its own, which a daemon that hangs holds until
/// its mount is aborted.
pub(super) fn answered<T: Send + 'static>(
    path: &Path,
    what: &str,
    ask: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, Failure> {
    let (tell, hear) = mpsc::channel();
    let asked = path.to_owned();
    thread::spawn(move || {
        // Nobody hears an answer that comes too late.
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
