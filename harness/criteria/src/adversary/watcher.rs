//! Somebody else on the mount: his requests go on, and are timed.

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
/// Between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(3);
/// What his files' names begin with.
pub const PREFIX: &str = "watcher-";

/// What is known of his requests.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// The request that waits for its answer.
    waiting: Mutex<Option<(&'static str, Instant)>>,
    /// The longest that each took.
    worst: Mutex<BTreeMap<&'static str, Duration>>,
    /// The first that failed, or was answered wrongly.
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
    /// Gives `who`, whose number is `uid` if it is not ours, a small vector file in `root`.
    ///
    /// # Errors
    /// What the home refuses.
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

    /// Begins to ask, in a thread which may come to wait for ever and is not waited for.
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

    /// The longest that a request took, of those that were answered.
    pub fn worst(&self) -> (&'static str, Duration) {
        let worst = lock(&self.shared.worst);
        let longest = worst.iter().max_by_key(|(_, took)| **took);
        longest.map_or(("nothing", Duration::ZERO), |(what, took)| (*what, *took))
    }

    /// Forgets what was seen.
    pub fn forget(&self) {
        lock(&self.shared.worst).clear();
    }

    /// The request that waits, and for how long it has.
    pub fn waits(&self) -> Option<(&'static str, Duration)> {
        lock(&self.shared.waiting).map(|(what, since)| (what, since.elapsed()))
    }

    /// Who it is.
    pub fn who(&self) -> &'static str {
        self.who
    }

    /// The longest of each request, in ms.
    pub fn told(&self) -> BTreeMap<&'static str, f64> {
        let worst = lock(&self.shared.worst);
        worst.iter().map(|(what, took)| (*what, took.as_secs_f64() * 1e3)).collect()
    }

    /// What was answered wrongly, if anything.
    pub fn wrong(&self) -> Option<String> {
        lock(&self.shared.wrong).clone()
    }

    /// Ends his requests; whether he has an answer to the last one within `limit`.
    pub fn stop(&mut self, limit: Duration) -> bool {
        self.shared.stop.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + limit;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(PAUSE);
        }
        self.thread = None;
        true
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// This thread is user `uid` from now on (credentials are a thread's in Linux).
fn become_user(uid: u32) -> Result<(), Failure> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    set_thread_groups(&[]).context("setgroups")?;
    set_thread_res_gid(group, group, group).context("setresgid")?;
    set_thread_res_uid(user, user, user).context("setresuid")
}

/// His requests, one after the other.
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

    /// Asks once, and times the answer, which may be one of `errnos`, too.
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
        // A full mount has no room for others either; it has to say so in time.
        const FULL: &[i32] = &[libc::ENOSPC];
        self.ask("stat of the root directory", &[], || fs::metadata(&self.root));
        let nobody = self.root.join(format!("nobody-has-{number}"));
        self.ask("look-up of a new name", &[libc::ENOENT], || fs::metadata(nobody));
        let new = self.root.join(format!("{PREFIX}{}-new", self.who.replace(' ', "-")));
        let created = self.ask("create", FULL, || File::create_new(&new)).is_some();
        if created && self.ask("unlink", &[], || fs::remove_file(&new)).is_none() {
            // Who is stopped between the two leaves nothing behind either.
            let _ = fs::remove_file(&new);
        }
        self.ask("readdir of the root directory", &[], || {
            fs::read_dir(&self.root)?.try_fold(0, |count, entry| entry.map(|_| count + 1))
        });
        self.ask("statfs", &[], || statvfs(&self.root).map_err(io::Error::from));
        let row = DIM * size_of::<f32>();
        let bytes = &dataset::bytes(&self.data.base)[3 * row..4 * row];
        // Its pages and its index are there already; the index may ask for room for a moment.
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
            self.is_wrong(format!("{}'s search gave {hits:?}, due is {due:?}", self.who));
        }
    }
}

/// That all of `watchers` have been answered by now, within `limit`.
///
/// # Errors
/// Who waits, for what, and how long.
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
