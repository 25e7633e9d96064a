//! The running daemons, by the thread that started them. A hanging one is killed, which unblocks its
//! callers, and so is one that takes too much memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, ThreadId};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::connection::Connection;
use super::memory::{self, Held, LOOK};

/// A daemon that runs.
#[derive(Debug)]
struct RunningDaemon {
    starter: ThreadId,
    pid: u32,
    mountpoint: PathBuf,
    /// Once it has mounted: while it is being unmounted the list of mounts has it no more.
    connection: Option<Connection>,
    held: Arc<Held>,
}

impl RunningDaemon {
    /// Ends it, and whatever waits for it.
    fn end(&self) {
        let connection = Connection::of(&self.mountpoint).ok().flatten();
        for connection in self.connection.iter().chain(&connection) {
            connection.abort();
        }
        let _ = killpg(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
    }
}

static RUNNING: Mutex<Vec<RunningDaemon>> = Mutex::new(Vec::new());
/// Told when a daemon is added.
static ADDED: Condvar = Condvar::new();

/// Has the daemon `pid`, the first of its process group, be known and watched; what it is ended for
/// is in what comes back.
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

/// It has mounted.
pub(super) fn connected(pid: u32, connection: Option<Connection>) {
    if let Some(daemon) = lock().iter_mut().find(|daemon| daemon.pid == pid) {
        daemon.connection = connection;
    }
}

/// It was reaped: its number may be another's soon.
pub(super) fn forget(pid: u32) {
    lock().retain(|daemon| daemon.pid != pid);
}

/// Ends the daemons that `thread` has started, and so whatever waits for an answer of theirs; how
/// many there were.
pub fn kill_daemons_of(thread: ThreadId) -> usize {
    let running = lock();
    let theirs = running.iter().filter(|daemon| daemon.starter == thread);
    theirs.map(RunningDaemon::end).count()
}

/// Looks at what they hold of memory, while there are any, and ends the one that holds too much.
fn watch() {
    let mut running = lock();
    loop {
        running = match running.is_empty() {
            true => ADDED.wait(running).unwrap_or_else(PoisonError::into_inner),
            // It is not told of anything that it need not see at its next look.
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
