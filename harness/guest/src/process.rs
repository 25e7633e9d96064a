//! Children that do not outlive us, whatever happens to us.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long a killed group may take to be gone.
const CLEANUP_LIMIT: Duration = Duration::from_secs(5);

/// A child that is killed and reaped when this is dropped.
#[derive(Debug)]
pub(super) struct Reaped(Child);

impl Reaped {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Reaped)
    }

    /// The child, for its pipes.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// The status, if the child has ended.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only when the child has already been reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process group with a guardian as its leader. The guardian waits for a pipe that only this
/// process holds. When the pipe closes, because this is dropped or because our process is gone,
/// even by SIGKILL, it removes the scratch directory and kills the group, itself included.
#[derive(Debug)]
pub(super) struct Group {
    guardian: Reaped,
    lifeline: Option<PipeWriter>,
}

/// `$0` is the scratch directory. The removal comes first because the kill is the guardian's end.
const GUARDIAN: &str = "trap '' INT TERM HUP; read -r _; rm -rf -- \"$0\"; kill -KILL 0";

impl Group {
    /// Makes the group.
    pub(super) fn begin(scratch: &Path) -> io::Result<Self> {
        let (reader, lifeline) = io::pipe()?;
        let mut command = Command::new("/bin/sh");
        command.args([OsStr::new("-c"), OsStr::new(GUARDIAN), scratch.as_os_str()]);
        command.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Group { guardian: Reaped::spawn(&mut command)?, lifeline: Some(lifeline) })
    }

    /// The group's id.
    pub(super) fn id(&self) -> Pid {
        Pid::from_raw(self.guardian.0.id().cast_signed())
    }

    /// Starts `command` in the group.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Reaped> {
        Reaped::spawn(command.process_group(self.id().as_raw()))
    }

    /// Ends all of the group and waits until nothing of it runs. Doing it twice does no harm.
    pub(super) fn end(&mut self) {
        self.lifeline = None;
        let deadline = Instant::now() + CLEANUP_LIMIT;
        let mut told = false;
        while !members(self.id()).is_empty() {
            if Instant::now() >= deadline {
                // Only a process in an uninterruptible wait outlives SIGKILL; waiting longer for
                // it would make Ctrl-C hang.
                break;
            }
            if !told && Instant::now() >= deadline - CLEANUP_LIMIT / 2 {
                // The guardian should have done it by now.
                told = !matches!(killpg(self.id(), Signal::SIGKILL), Err(Errno::EINTR));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// The processes of a group that still run; zombies do not.
pub(super) fn members(group: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| is_running_member(*pid, group.as_raw()))
        .map(Pid::from_raw)
        .collect()
}

fn is_running_member(pid: i32, group: i32) -> bool {
    // proc_pid_stat(5): pid (name) state parent group …; the name may hold anything.
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let mut fields = fields.split_whitespace();
    let state = fields.next();
    fields.nth(1) == Some(group.to_string().as_str()) && !matches!(state, Some("Z" | "X"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone_soon(group: Pid) -> bool {
        let deadline = Instant::now() + CLEANUP_LIMIT;
        while Instant::now() < deadline {
            if members(group).is_empty() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    #[test]
    fn nothing_of_a_group_is_left() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("socket"), "").unwrap();
        let group = Group::begin(scratch.path()).unwrap();
        let id = group.id();
        // A grandchild whose parent has gone is in the group all the same.
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & trap '' TERM; exec sleep 1000"]);
        let child = group.spawn(&mut shell).unwrap();
        assert!(members(id).len() >= 2);
        drop(group);
        assert!(members(id).is_empty());
        assert!(!scratch.path().exists());
        drop(child);
    }

    #[test]
    fn the_group_dies_with_its_maker() {
        let scratch = tempfile::tempdir().unwrap();
        let mut group = Group::begin(scratch.path()).unwrap();
        let id = group.id();
        let mut child = group.spawn(Command::new("sleep").arg("1000")).unwrap();
        // What happens to the pipe when the launcher is killed, without the rest of `end`.
        group.lifeline = None;
        assert!(child.child().wait().is_ok());
        assert!(gone_soon(id));
        assert!(!scratch.path().exists());
    }
}
