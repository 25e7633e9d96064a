//! The running daemons, with the thread that started each. A daemon that hangs is killed, which
//! unblocks its callers, and so is one that takes too much memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, ThreadId};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::connection::Connection;
use super::memory::{self, Held, LOOK};

/// A running daemon.
#[derive(Debug)]
struct RunningDaemon {
    starter: ThreadId,
    pid: u32,
    mountpoint: PathBuf,
    /// Set once it has mounted, because a mount that is being unmounted is no longer in the list of
    /// mounts.
    connection: Option<Connection>,
    held: Arc<Held>,
}

impl RunningDaemon {
    /// Kills it, and unblocks everything that waits for it.
    fn end(&self) {
        let connection = Connection::of(&self.mountpoint).ok().flatten();
        for connection in self.connection.iter().chain(&connection) {
            connection.abort();
        }
        let _ = killpg(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
    }
}

static RUNNING: Mutex<Vec<RunningDaemon>> = Mutex::new(Vec::new());
/// Notified when a daemon is added.
static ADDED: Condvar = Condvar::new();

/// Registers the daemon `pid`, the leader of its process group, and starts watching its memory. The
/// returned value tells if it was killed for that.
pub(super) fn add(pid: u32, mountpoint: &Path) -> Arc<Held> {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        thread::spawn(watch);
    });
    memory::is_the_first_to_go(pid);
    let held = Arc::new(Held::default());
    lock().push(RunningDaemon {
        starter: thread::current().id(),
        pid,
        mountpoint: mountpoint.to_owned(),
        connection: None,
        held: Arc::clone(&held),
    });
    ADDED.notify_one();
    held
}

/// Records the connection of a daemon that has mounted.
pub(super) fn connected(pid: u32, connection: Option<Connection>) {
    if let Some(daemon) = lock().iter_mut().find(|daemon| daemon.pid == pid) {
        daemon.connection = connection;
    }
}

/// Removes a daemon that has been reaped, because another process may soon have its id.
pub(super) fn forget(pid: u32) {
    lock().retain(|daemon| daemon.pid != pid);
}

/// Kills the daemons that `thread` has started, and so unblocks everything that waits for their
/// answers. Returns their number.
pub fn kill_daemons_of(thread: ThreadId) -> usize {
    let running = lock();
    let theirs = running.iter().filter(|daemon| daemon.starter == thread);
    theirs.map(RunningDaemon::end).count()
}

/// Checks the memory of the daemons as long as there are any, and kills one that holds too much.
fn watch() {
    let mut running = lock();
    loop {
        running = match running.is_empty() {
            true => ADDED.wait(running).unwrap_or_else(PoisonError::into_inner),
            // Changes meanwhile need no notification: the next check sees them.
            false => {
                drop(running);
                thread::sleep(LOOK);
                lock()
            }
        };
        for daemon in running.iter() {
            if daemon.held.is_too_much(daemon.pid) {
                daemon.end();
            }
        }
    }
}

fn lock() -> MutexGuard<'static, Vec<RunningDaemon>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
