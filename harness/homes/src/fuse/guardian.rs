//! The guardian: a second process that cleans up daemons and mounts if the process that runs the
//! trials dies. SIGKILL runs no destructors.
//!
//! It is forked before there are threads, so that it need not call exec. A pipe tells it what to
//! take down; when the pipe closes, our process has ended.

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

/// In place of the process group of a daemon that has not been started yet.
const UNKNOWN: i32 = 0;

/// A daemon's directory and process group, which must not outlive this process.
#[derive(Debug)]
pub(crate) struct Watched(Vec<u8>);

impl Watched {
    /// Tells the guardian about a daemon that is about to be started, because it may mount before
    /// anybody knows its process id.
    pub(crate) fn before_start(directory: &Path, mountpoint: &Path) -> Watched {
        Watched::new(Pid::from_raw(UNKNOWN), directory, mountpoint)
    }

    /// Tells the guardian about a daemon with the process group `group` that mounts on `mountpoint`
    /// in `directory`. Does nothing if there is no guardian.
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

/// A single write, which a pipe does not split, because several threads may write at once.
fn say(what: u8, words: &[u8]) {
    if let Some(mut tell) = TELL.get() {
        let line = [&[what], words, b"\n"].concat();
        // If the guardian has gone, it guards nothing; the trial continues.
        let _ = tell.write_all(&line);
    }
}

/// Starts the guardian.
///
/// # Errors
/// If there are threads already, or the system refuses a pipe or a process.
pub fn start() -> Result<(), Failure> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    machine::require!(
        threads == 1,
        "the guardian must be forked before other threads start; there are {threads} threads"
    );
    let (hear, tell) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: this process has a single thread, so the child's copy of the process is consistent.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Parent { .. } => {
            drop(hear);
            let _ = TELL.set(tell.into());
            Ok(())
        }
        ForkResult::Child => {
            drop(tell);
            let _ = guard(hear.into());
            // Destructors and buffered output belong to the parent.
            // SAFETY: this call ends the process.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Listens until the process at the other end has gone, and takes down what it has left.
fn guard(hear: File) -> io::Result<()> {
    // Signals to the process group must not reach the guardian, and readers of our output must not
    // wait for it.
    setsid()?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    close_others(&hear);
    // Several may have announced the same thing, so count.
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

/// Inherited descriptors would keep a pipe or a lock of somebody else open.
fn close_others(ours: &File) {
    let ours = ours.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, ours.saturating_sub(1)), (ours + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: nothing in this process uses these descriptors.
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
    // A daemon that waits for its own mount reacts to SIGKILL only after its connection has been
    // aborted.
    connection::detach_all(&directory);
    // Number 0 would mean the guardian's own process group.
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
