//! The adversary's process, from its start to its end, which may be long in coming.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use machine::child::die_with_us;
use machine::deadline::wait_for;
use machine::failure::{Failure, While};
use machine::part;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

use super::scene::{READY, SceneOrder};
use super::standing::processor_time;

/// The part's name.
pub const PART: &str = "adversary";
/// How long a process that does not end is waited for on the way out.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The process; killed on drop, and left behind if even that does not end it.
pub struct Offender {
    child: Child,
    output: NamedTempFile,
    ended: Option<ExitStatus>,
}

impl Offender {
    /// Starts it.
    pub fn start(order: &SceneOrder) -> Result<Offender, Failure> {
        let output = NamedTempFile::new()?;
        let stream = || File::options().append(true).open(output.path());
        let mut command = part::command(PART, order)?;
        command.stdin(Stdio::null()).stdout(stream()?).stderr(stream()?).process_group(0);
        die_with_us(&mut command, Signal::SIGKILL);
        let child = command.spawn().when("starting the adversary")?;
        Ok(Offender { child, output, ended: None })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that it has had, in the kernel, too.
    pub fn worked(&self) -> Duration {
        processor_time(self.child.id())
    }

    /// Sends SIGKILL to all of it.
    pub fn kill(&self) {
        if self.ended.is_none() {
            let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        }
    }

    /// Whether what takes no time in particular is done, and the act itself has begun.
    pub fn is_ready(&self) -> bool {
        self.said().lines().any(|line| line == READY)
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read(self.output.path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// What it was doing last.
    pub fn last_words(&self) -> String {
        let said = self.said();
        let last = said.lines().rfind(|line| *line != READY).unwrap_or("nothing");
        last.to_owned()
    }

    /// What it found, or how it ended, where that is not as it should; SIGKILL is ours.
    pub fn finding(&self, status: ExitStatus) -> Option<String> {
        let said = self.said();
        if let Some(found) = said.find("found: ") {
            return Some(said[found + "found: ".len()..].trim_end().to_owned());
        }
        match (status.code(), status.signal()) {
            (Some(0), _) | (None, Some(libc::SIGKILL)) => None,
            _ => Some(format!("he ended with {status}: {}", said.trim_end())),
        }
    }
}

impl Drop for Offender {
    fn drop(&mut self) {
        self.kill();
        // A process in a request that cannot be interrupted stays; the trial has failed by then.
        let _ = wait_for("", LAST_WAIT, || self.ended());
    }
}
