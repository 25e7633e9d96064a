//! The guardian: a second process that cleans up daemons and mounts if the process that runs the trials
//! dies. SIGKILL runs no destructor.
//!
//! It is forked before there are threads, so that it need not exec. A pipe tells it what is to be taken
//! down; when the pipe closes, our process is gone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use machine::failure::{Failure, WithContext};
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

use super::{connection, left_behind};

/// Our end of the pipe.
static TELL: OnceLock<File> = OnceLock::new();

/// Stands for the process group of a daemon that is not started yet.
const UNKNOWN: i32 = 0;

/// A directory and a process group of a daemon's, that are to be gone when this process is.
#[derive(Debug)]
pub(crate) struct Watched(Vec<u8>);

impl Watched {
    /// Has the guardian know of a daemon that is about to be started: it may have mounted before
    /// anybody knows its number.
    pub(crate) fn before_start(directory: &Path, mountpoint: &Path) -> Watched {
        Watched::new(Pid::from_raw(UNKNOWN), directory, mountpoint)
    }

    /// Has the guardian know of a daemon of the process group `group` that mounts in `directory`,
    /// on `mountpoint`; without a guardian nothing happens.
    pub(crate) fn new(group: Pid, directory: &Path, mountpoint: &Path) -> Watched {
        let mut words = format!("{group} ").into_bytes();
        words.extend_from_slice(directory.as_os_str().as_bytes());
        words.push(0);
        words.extend_from_slice(mountpoint.as_os_str().as_bytes());
        say(b'+', &words);
        Watched(words)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        say(b'-', &self.0);
    }
}

/// One write, which a pipe keeps whole: threads may say something at once.
fn say(what: u8, words: &[u8]) {
    if let Some(mut tell) = TELL.get() {
        let line = [&[what], words, b"\n"].concat();
        // One that is gone guards nothing; the trial goes on.
        let _ = tell.write_all(&line);
    }
}

/// Starts the guardian.
///
/// # Errors
/// There are threads already, or the system refuses a pipe or a process.
pub fn start() -> Result<(), Failure> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    machine::require!(threads == 1, "a guardian is forked too late: there are {threads} threads");
    let (hear, tell) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: this process has a single thread, so that the child has all there is.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Parent { .. } => {
            drop(hear);
            let _ = TELL.set(tell.into());
            Ok(())
        }
        ForkResult::Child => {
            drop(tell);
            let _ = guard(hear.into());
            // Destructors and what is buffered are the parent's.
            // SAFETY: it ends this process.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Listens until the process that speaks is gone, and takes down what it has left.
fn guard(hear: File) -> io::Result<()> {
    // Neither a signal to the group nor a reader of our output is to wait for it.
    setsid()?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    close_others(&hear);
    // The same may be said of by several.
    let mut there: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for line in BufReader::new(hear).split(b'\n') {
        match line?.split_first() {
            Some((b'+', words)) => *there.entry(words.to_vec()).or_default() += 1,
            Some((_, words)) => {
                if let Some(count) = there.get_mut(words) {
                    *count = count.saturating_sub(1);
                }
            }
            None => {}
        }
    }
    for (words, _) in there.into_iter().filter(|&(_, count)| count > 0) {
        take_down(words);
    }
    Ok(())
}

/// Descriptors that were inherited would keep a pipe or a lock of somebody's open.
fn close_others(ours: &File) {
    let ours = ours.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, ours.saturating_sub(1)), (ours + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: nobody in this process uses them.
            unsafe { libc::close_range(first, last, 0) };
        }
    }
}

fn take_down(words: Vec<u8>) {
    let mut parts = words.splitn(2, |&byte| byte == b' ');
    let group = parts.next().and_then(|number| str::from_utf8(number).ok()?.parse().ok());
    let mut paths = parts.next().unwrap_or_default().split(|&byte| byte == 0).map(path);
    let (Some(group), Some(directory), Some(mountpoint)) = (group, paths.next(), paths.next())
    else {
        return;
    };
    // A daemon that waits for itself hears SIGKILL once its connection is gone.
    connection::detach_all(&directory);
    // Ours would be the group of that number.
    if group != UNKNOWN {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    left_behind::kill(&mountpoint);
    connection::detach_all(&directory);
    connection::remove(&directory);
}

fn path(bytes: &[u8]) -> PathBuf {
    std::ffi::OsString::from_vec(bytes.to_vec()).into()
}
