//! The lock that lets a trial run alone on the machine, across threads and processes.
//!
//! Every trial holds the lock shared while it runs; a trial that measures or loads the module holds
//! it alone. nextest's `threads-required` does the same within one run; this lock also works under
//! `cargo test` and between two runs, also of different users.
//!
//! Trials that share the lock may come one after the other without a gap, so a trial that waits to
//! be alone would wait until the last of them. Therefore everybody queues for a second lock first,
//! and keeps it until he has the first one: who waits to be alone holds up all who come later. No
//! process that holds the lock may take it again.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use machine::failure::{Failure, WithContext};
use machine::file_lock::{FileLock, Sharing};

/// The longest wait for other trials: more than the longest trial takes under emulation.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Directories in which every user may make a file and none may remove another's. All users take
/// the first that exists, whatever their TMPDIR is.
const FOR_ALL: [&str; 2] = ["/run/lock", "/tmp"];

const LOCK: &str = "vexfs-validation.lock";
const QUEUE: &str = "vexfs-validation-queue.lock";

fn directory() -> &'static Path {
    Path::new(FOR_ALL.into_iter().find(|path| is_for_all(Path::new(path))).unwrap_or("/tmp"))
}

fn is_for_all(path: &Path) -> bool {
    let for_all = 0o1002;
    fs::symlink_metadata(path)
        .is_ok_and(|there| there.is_dir() && there.permissions().mode() & for_all == for_all)
}

/// Opens the lock file, and makes it if it does not exist. It is opened for reading, which is
/// enough for either kind of lock: with `fs.protected_regular`, nobody may open another user's file
/// with O_CREAT.
fn open(path: &Path) -> Result<File, Failure> {
    let open = || {
        // If another user has put a symlink or a FIFO there, neither follow it nor wait for it.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        OpenOptions::new().read(true).custom_flags(flags).open(path)
    };
    let file = match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o666);
            match options.open(path) {
                Ok(file) => {
                    // Undo the umask, so that other users can open it, too.
                    file.set_permissions(Permissions::from_mode(0o666)).context(path.display())?;
                    Ok(file)
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => open(),
                Err(error) => Err(error),
            }
        }
        other => other,
    };
    let file = file.context(format!("opening the lock {}", path.display()))?;
    machine::require!(
        file.metadata().context(path.display())?.is_file(),
        "the lock {} is no regular file; remove it",
        path.display()
    );
    Ok(file)
}

/// Waits for the lock, and releases it when the result is dropped.
///
/// # Errors
/// The lock file cannot be opened, or the others take longer than half an hour.
pub fn take(how: Sharing) -> Result<FileLock, Failure> {
    take_in(directory(), how)
}

fn take_in(directory: &Path, how: Sharing) -> Result<FileLock, Failure> {
    let wait = |name: &str, how| {
        let path = directory.join(name);
        let path_shown = path.display();
        let what =
            format!("the end of other trials, which hold {path_shown}; end them and try again");
        FileLock::wait(open(&path)?, how, &what, LIMIT, || false)
    };
    let _queue = wait(QUEUE, Sharing::Alone)?;
    wait(LOCK, how)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use machine::deadline::wait_for;

    use super::*;

    #[test]
    fn shared_locks_coexist_and_an_exclusive_one_is_alone() {
        let own = tempfile::tempdir().unwrap();
        let first = take_in(own.path(), Sharing::Shared).unwrap();
        let second = take_in(own.path(), Sharing::Shared).unwrap();
        let file = OpenOptions::new().read(true).open(own.path().join(LOCK)).unwrap();
        assert!(file.try_lock().is_err());
        drop((first, second));
    }

    #[test]
    fn a_trial_waits_behind_an_earlier_one_that_waits_to_be_alone() {
        let own = tempfile::tempdir().unwrap();
        let first = take_in(own.path(), Sharing::Shared).unwrap();
        let order = Mutex::new(Vec::new());
        let enter = |how| {
            let _lock = take_in(own.path(), how).unwrap();
            order.lock().unwrap().push(how);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| enter(Sharing::Alone));
            let queue = open(&own.path().join(QUEUE)).unwrap();
            wait_for("somebody in the queue", Duration::from_secs(60), || {
                let free = queue.try_lock().is_ok();
                if free {
                    queue.unlock()?;
                }
                Ok((!free).then_some(()))
            })
            .unwrap();
            scope.spawn(|| enter(Sharing::Shared));
            // As long as this is held, the first of them waits. The second one could have gone in.
            wait_for("the second to be there", Duration::from_secs(60), || {
                Ok((opened(&own.path().join(QUEUE))? >= 3).then_some(()))
            })
            .unwrap();
            assert!(order.lock().unwrap().is_empty());
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), [Sharing::Alone, Sharing::Shared]);
    }

    /// How many descriptors of this process lead to `path`.
    fn opened(path: &Path) -> Result<usize, Failure> {
        let descriptors = fs::read_dir("/proc/self/fd")?.filter_map(Result::ok);
        Ok(descriptors.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == path)).count())
    }

    #[test]
    fn the_lock_is_where_every_user_finds_it() {
        assert!(FOR_ALL.iter().any(|path| directory() == Path::new(path)));
        let own = tempfile::tempdir().unwrap();
        assert!(!is_for_all(own.path()));
        assert!(!is_for_all(Path::new("/nonexistent")));
        fs::set_permissions(own.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(is_for_all(own.path()));
    }

    #[test]
    fn every_user_may_open_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        for _ in 0..2 {
            let mode = open(&path).unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o666);
        }
    }

    #[test]
    fn a_symlink_or_pipe_is_not_taken_for_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("link"), directory.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let said = open(&link).unwrap_err().to_string();
        assert!(said.contains("opening the lock") && said.contains("link"), "{said}");
        assert!(!target.exists());
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let said = open(&pipe).unwrap_err().to_string();
        assert!(said.contains("is no regular file; remove it"), "{said}");
    }
}
