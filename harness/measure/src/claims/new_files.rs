//! Watches a mount for the vector files that another program creates.
//!
//! Each new file is opened at once and kept open, which keeps its indexes and their counters alive
//! even if the program removes the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// How often the watcher checks whether it should stop.
const GLANCE: Duration = Duration::from_millis(20);
const EVENTS: usize = 16 << 10;

/// The files that were created while the mount was watched.
#[derive(Debug, Default)]
pub struct MadeFiles {
    /// The files, open, with their paths.
    pub files: Vec<(PathBuf, File)>,
    /// Files that were removed before they could be opened.
    pub missed: Vec<PathBuf>,
}

/// A mount whose new files are watched.
pub struct NewFiles {
    stop: Arc<AtomicBool>,
    /// `None` once the watcher has ended.
    watcher: Option<JoinHandle<Result<MadeFiles, Failure>>>,
}

impl NewFiles {
    /// Watches `mount` and its directories from now on.
    pub fn begin(mount: &Path) -> Result<NewFiles, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mount, stopped) = (mount.to_owned(), Arc::clone(&stop));
        let (begun, beginning) = mpsc::channel();
        let watcher = thread::spawn(move || {
            let mut watcher = NewFilesWatcher::new()?;
            watcher.directory(&mount).context(format!("watching {}", mount.display()))?;
            // Files that exist already do not count.
            watcher.made = MadeFiles::default();
            // The receiver is gone only if it panicked.
            let _ = begun.send(());
            // Events from before `stop` was set are still read after the loop.
            while !stopped.load(Ordering::Acquire) {
                watcher.look(GLANCE)?;
            }
            watcher.look(Duration::ZERO)?;
            Ok(watcher.made)
        });
        let mut files = NewFiles { stop, watcher: Some(watcher) };
        match beginning.recv() {
            Ok(()) => Ok(files),
            // The watcher ended before it began to watch.
            Err(_) => match files.join() {
                Err(failure) => Err(failure),
                Ok(_) => fail!("the watcher of files ended before it began"),
            },
        }
    }

    /// All files that were made since.
    ///
    /// # Errors
    /// If more events occurred than could be followed, or a file cannot be opened.
    pub fn end(mut self) -> Result<MadeFiles, Failure> {
        self.join()
    }

    fn join(&mut self) -> Result<MadeFiles, Failure> {
        self.stop.store(true, Ordering::Release);
        let Some(watcher) = self.watcher.take() else { return Ok(MadeFiles::default()) };
        watcher.join().unwrap_or_else(|_| Err(Failure::new("the watcher of files panicked")))
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        // Its open files keep the mount busy.
        let _ = self.join();
    }
}

struct NewFilesWatcher {
    inotify: OwnedFd,
    directories: BTreeMap<i32, PathBuf>,
    made: MadeFiles,
    known: BTreeSet<(u64, u64)>,
}

impl NewFilesWatcher {
    fn new() -> Result<NewFilesWatcher, Failure> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let (directories, known) = (BTreeMap::new(), BTreeSet::new());
        Ok(NewFilesWatcher { inotify, directories, made: MadeFiles::default(), known })
    }

    /// Watches a directory, and takes the files that are already in it.
    fn directory(&mut self, path: &Path) -> Result<(), Failure> {
        let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let number = inotify::add_watch(&self.inotify, path, events)?;
        self.directories.insert(number, path.to_owned());
        for entry in fs::read_dir(path)? {
            self.take(&entry?.path())?;
        }
        Ok(())
    }

    fn take(&mut self, path: &Path) -> Result<(), Failure> {
        // Do not wait for the other end of a pipe, and do not follow links.
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.made.missed.push(path.to_owned());
                return Ok(());
            }
            Err(error) => return Err(error).context(format!("opening {}", path.display())),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return self.directory(path);
        }
        if metadata.is_file() && self.known.insert((metadata.dev(), metadata.ino())) {
            self.made.files.push((path.to_owned(), file));
        }
        Ok(())
    }

    /// Waits at most `limit` for an event, and takes the files that have been made.
    fn look(&mut self, limit: Duration) -> Result<(), Failure> {
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("waiting for new files"),
        }
        let mut made = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    require!(
                        !event.events().contains(ReadFlags::QUEUE_OVERFLOW),
                        "more files were made than could be followed"
                    );
                    let directory = self.directories.get(&event.wd());
                    if let (Some(directory), Some(name)) = (directory, event.file_name()) {
                        made.push(directory.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
                    }
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => break,
                Err(errno) => return Err(errno).context("reading of new files"),
            }
        }
        made.iter().try_for_each(|path| self.take(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_are_kept_open_wherever_they_are_made() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("earlier"), "earlier").unwrap();
        let files = NewFiles::begin(directory.path()).unwrap();
        let below = directory.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("rows"), "rows").unwrap();
        std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
        fs::write(directory.path().join("top"), "top").unwrap();
        fs::hard_link(directory.path().join("top"), below.join("top")).unwrap();
        let made = files.end().unwrap();
        assert_eq!((made.files.len(), made.missed.len()), (2, 0), "{made:?}");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let failure = NewFiles::begin(Path::new("/nonexistent")).err().unwrap();
        assert!(failure.to_string().contains("watching /nonexistent"), "{failure}");
    }
}
