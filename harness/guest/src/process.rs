//! A process group that is killed when this process ends, in whatever way it ends.

use std::ffi::OsStr;
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use machine::child::{Supervised, members};
use machine::deadline::wait_for;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long the processes of a killed group may take to end.
const CLEANUP_LIMIT: Duration = Duration::from_secs(5);

/// A process group whose leader is a guardian. The guardian waits for a pipe that only this process
/// holds. When the pipe closes, because this is dropped or because this process has ended, even by
/// SIGKILL, the guardian removes the scratch directory and kills the group, itself included.
#[derive(Debug)]
pub(super) struct ProcessGroup {
    guardian: Supervised,
    lifeline: Option<PipeWriter>,
}

/// `$0` is the scratch directory. It is removed first, because the kill ends the guardian too.
const GUARDIAN: &str = "trap '' INT TERM HUP; read -r _; rm -rf -- \"$0\"; kill -KILL 0";

impl ProcessGroup {
    /// Starts the guardian, and with it the group.
    pub(super) fn begin(scratch: &Path) -> io::Result<Self> {
        let (reader, lifeline) = io::pipe()?;
        let mut command = Command::new("/bin/sh");
        command.args([OsStr::new("-c"), OsStr::new(GUARDIAN), scratch.as_os_str()]);
        command.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let guardian = Supervised::of("the guest's guardian", command.spawn()?);
        Ok(ProcessGroup { guardian, lifeline: Some(lifeline) })
    }

    /// The group's id.
    pub(super) fn id(&self) -> Pid {
        self.guardian.pid()
    }

    /// Starts `command` in the group.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Supervised> {
        let child = command.process_group(self.id().as_raw()).spawn()?;
        Ok(Supervised::of("the guest", child))
    }

    /// Ends the whole group and waits until none of it is running. A second call does no harm.
    pub(super) fn end(&mut self) {
        self.lifeline = None;
        let started = Instant::now();
        let mut told = false;
        // Only a process in an uninterruptible wait survives SIGKILL. Waiting longer for it would
        // make Ctrl-C hang.
        let _ = wait_for("", CLEANUP_LIMIT, || {
            if !told && started.elapsed() >= CLEANUP_LIMIT / 2 {
                // The guardian should have killed the group by now, so do it here.
                told = !matches!(killpg(self.id(), Signal::SIGKILL), Err(Errno::EINTR));
            }
            Ok(members(self.id())?.is_empty().then_some(()))
        });
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_of_a_group_is_left() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("socket"), "").unwrap();
        let group = ProcessGroup::begin(scratch.path()).unwrap();
        let id = group.id();
        // A grandchild whose parent has ended is still in the group.
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & trap '' TERM; exec sleep 1000"]);
        let child = group.spawn(&mut shell).unwrap();
        assert!(members(id).unwrap().len() >= 2);
        drop(group);
        assert!(members(id).unwrap().is_empty());
        assert!(!scratch.path().exists());
        drop(child);
    }

    #[test]
    fn the_group_dies_with_its_maker() {
        let scratch = tempfile::tempdir().unwrap();
        let mut group = ProcessGroup::begin(scratch.path()).unwrap();
        let id = group.id();
        let mut child = group.spawn(Command::new("sleep").arg("1000")).unwrap();
        // Close the pipe, as happens when the launcher is killed, without the rest of `end`.
        group.lifeline = None;
        assert!(child.child().wait().is_ok());
        let gone = || Ok(members(id)?.is_empty().then_some(()));
        wait_for("the group's end", CLEANUP_LIMIT, gone).unwrap();
        assert!(!scratch.path().exists());
    }
}
