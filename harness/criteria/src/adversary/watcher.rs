//! A watcher: another user of the mount, whose requests go on and are timed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset::{self, Dataset};
use nix::sys::statvfs::statvfs;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use vexfs_uapi::Hit;
use vexfs_uapi::client::{Declaration, Searcher, attach};

const DIM: usize = 8;
const ROWS: usize = 64;
const K: u32 = 5;
/// Pause between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(3);
/// Prefix of the watchers' file names.
pub const PREFIX: &str = "watcher-";

/// What the watcher's thread reports of its requests.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// The request in progress, and when it was sent.
    waiting: Mutex<Option<(&'static str, Instant)>>,
    /// The longest time that each kind of request took.
    worst: Mutex<BTreeMap<&'static str, Duration>>,
    /// The first request that failed or was answered wrongly.
    wrong: Mutex<Option<String>>,
}

/// A watcher, with a small file of his own.
pub struct Watcher {
    who: &'static str,
    uid: Option<u32>,
    root: PathBuf,
    file: File,
    data: Dataset,
    due: Vec<Hit>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    /// Makes a small vector file in `root` for `who`, a user with the number `uid` (`None`:
    /// ourselves).
    ///
    /// # Errors
    /// A request that the home refuses.
    pub fn prepare(root: &Path, who: &'static str, uid: Option<u32>) -> Result<Watcher, Failure> {
        let data = Dataset::generate(19, ROWS, DIM, 1);
        let path = root.join(format!("{PREFIX}{}.f32", who.replace(' ', "-")));
        fs::write(&path, dataset::bytes(&data.base)).context(path.display())?;
        if let Some(uid) = uid {
            std::os::unix::fs::chown(&path, Some(uid), Some(uid)).context(path.display())?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        attach(&file, &Declaration::flat(DIM as u32)).context("ATTACH of a watcher")?;
        let due = Searcher::new(DIM as u32, K, 0)?.search(&file, &data.queries)?.to_vec();
        let (root, shared) = (root.to_owned(), Arc::default());
        Ok(Watcher { who, uid, root, file, data, due, shared, thread: None })
    }

    /// Starts the requests in a thread. It may come to hang for ever, so nothing joins it.
    pub fn start(&mut self) -> Result<(), Failure> {
        let round = WatchRound {
            who: self.who,
            root: self.root.clone(),
            file: self.file.try_clone()?,
            data: self.data.clone(),
            due: self.due.clone(),
            shared: Arc::clone(&self.shared),
        };
        let uid = self.uid;
        self.thread = Some(thread::spawn(move || {
            let became = uid.map_or(Ok(()), become_user);
            if let Err(failure) = became {
                round.is_wrong(failure.to_string());
                return;
            }
            let mut number = 0;
            while !round.shared.stop.load(Ordering::SeqCst) {
                round.all(number);
                number += 1;
                thread::sleep(PAUSE);
            }
        }));
        Ok(())
    }

    /// The slowest request that was answered, and its time.
    pub fn worst(&self) -> (&'static str, Duration) {
        let worst = lock(&self.shared.worst);
        let longest = worst.iter().max_by_key(|(_, took)| **took);
        longest.map_or(("nothing", Duration::ZERO), |(what, took)| (*what, *took))
    }

    /// Clears the times measured so far.
    pub fn forget(&self) {
        lock(&self.shared.worst).clear();
    }

    /// The request in progress, and how long it has waited.
    pub fn waits(&self) -> Option<(&'static str, Duration)> {
        lock(&self.shared.waiting).map(|(what, since)| (what, since.elapsed()))
    }

    /// Who this watcher is.
    pub fn who(&self) -> &'static str {
        self.who
    }

    /// The longest time of each kind of request, in ms.
    pub fn told(&self) -> BTreeMap<&'static str, f64> {
        let worst = lock(&self.shared.worst);
        worst.iter().map(|(what, took)| (*what, took.as_secs_f64() * 1e3)).collect()
    }

    /// The first wrong answer, if any.
    pub fn wrong(&self) -> Option<String> {
        lock(&self.shared.wrong).clone()
    }

    /// Stops the requests. Returns whether the last one is answered within `limit`.
    pub fn stop(&mut self, limit: Duration) -> bool {
        self.shared.stop.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + limit;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(PAUSE);
        }
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            let failure = Failure::of_panic(&*panic);
            let ended = || format!("{}'s requests ended in a panic: {failure}", self.who);
            lock(&self.shared.wrong).get_or_insert_with(ended);
        }
        true
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// Makes this thread user `uid` (credentials belong to a thread in Linux).
fn become_user(uid: u32) -> Result<(), Failure> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    set_thread_groups(&[]).context("setgroups")?;
    set_thread_res_gid(group, group, group).context("setresgid")?;
    set_thread_res_uid(user, user, user).context("setresuid")
}

/// The watcher's requests, one after the other.
struct WatchRound {
    who: &'static str,
    root: PathBuf,
    file: File,
    data: Dataset,
    due: Vec<Hit>,
    shared: Arc<Shared>,
}

impl WatchRound {
    fn is_wrong(&self, what: String) {
        lock(&self.shared.wrong).get_or_insert(what);
    }

    /// Sends one request and times it. An error is a fault unless it is one of `errnos`.
    fn ask<T>(
        &self,
        what: &'static str,
        errnos: &[i32],
        request: impl FnOnce() -> io::Result<T>,
    ) -> Option<T> {
        if self.shared.stop.load(Ordering::SeqCst) {
            return None;
        }
        let began = Instant::now();
        *lock(&self.shared.waiting) = Some((what, began));
        let answer = request();
        *lock(&self.shared.waiting) = None;
        let took = began.elapsed();
        let mut worst = lock(&self.shared.worst);
        let longest = worst.entry(what).or_default();
        *longest = took.max(*longest);
        drop(worst);
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                if !error.raw_os_error().is_some_and(|errno| errnos.contains(&errno)) {
                    self.is_wrong(format!("{}'s {what} failed: {error}", self.who));
                }
                None
            }
        }
    }

    fn all(&self, number: u64) {
        // On a full mount others get ENOSPC, too, but they must get it in time.
        const FULL: &[i32] = &[libc::ENOSPC];
        self.ask("stat of the root directory", &[], || fs::metadata(&self.root));
        let nobody = self.root.join(format!("nobody-has-{number}"));
        self.ask("look-up of a new name", &[libc::ENOENT], || fs::metadata(nobody));
        let new = self.root.join(format!("{PREFIX}{}-new", self.who.replace(' ', "-")));
        let created = self.ask("create", FULL, || File::create_new(&new)).is_some();
        if created && self.ask("unlink", &[], || fs::remove_file(&new)).is_none() {
            // If stopped between the two requests, leave nothing behind.
            let _ = fs::remove_file(&new);
        }
        self.ask("readdir of the root directory", &[], || {
            fs::read_dir(&self.root)?.try_fold(0, |count, entry| entry.map(|_| count + 1))
        });
        self.ask("statfs", &[], || statvfs(&self.root).map_err(io::Error::from));
        let row = DIM * size_of::<f32>();
        let bytes = &dataset::bytes(&self.data.base)[3 * row..4 * row];
        // Overwrites a row: its pages and index exist, but the index may need memory for a moment.
        self.ask("write", FULL, || self.file.write_all_at(bytes, 3 * row as u64));
        let mut read = vec![0; row];
        if self.ask("read", &[], || self.file.read_exact_at(&mut read, 3 * row as u64)).is_some()
            && read != bytes
        {
            self.is_wrong(format!("{}'s read gave other bytes than were written", self.who));
        }
        let searched = self.ask("search", &[], || {
            let mut searcher = Searcher::new(DIM as u32, K, 0)?;
            searcher.search(&self.file, &self.data.queries).map(<[Hit]>::to_vec)
        });
        if let Some(hits) = searched
            && hits != self.due
        {
            let due = &self.due;
            self.is_wrong(format!("{}'s search gave {hits:?}, expected {due:?}", self.who));
        }
    }
}

/// Checks that no request of `watchers` has waited longer than `limit`.
///
/// # Errors
/// Which watcher waits, for what, and the limit.
pub fn all_answered(watchers: &[Watcher], limit: Duration) -> Result<(), Failure> {
    for watcher in watchers {
        if let Some((what, since)) = watcher.waits() {
            require!(
                since <= limit,
                "{}'s {what} is not answered within {:.1} s",
                watcher.who(),
                limit.as_secs_f64()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_who_panics_has_seen_something_wrong() {
        let mut watcher = Watcher {
            who: "root",
            uid: None,
            root: PathBuf::new(),
            file: tempfile::tempfile().unwrap(),
            data: Dataset::generate(19, 1, DIM, 1),
            due: Vec::new(),
            shared: Arc::default(),
            thread: Some(thread::spawn(|| panic!("a watcher panics"))),
        };
        assert!(watcher.stop(Duration::from_secs(60)));
        let wrong = watcher.wrong().unwrap();
        assert!(wrong.starts_with("root's requests") && wrong.contains("a watcher panics"));
        assert!(watcher.stop(Duration::ZERO));
    }
}
