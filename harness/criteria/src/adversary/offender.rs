//! The adversary's process, from its start to its end, which may be long in coming.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use machine::child::Running;
use machine::failure::Failure;
use machine::part;

use super::scene::{READY, SceneOrder};
use super::standing::processor_time;

/// The part's name.
pub const PART: &str = "adversary";
/// How long a process that does not end is waited for on the way out.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The process; killed on drop. One in a request that cannot be interrupted is left behind: the trial
/// has failed by then.
pub struct Offender(Running);

impl Offender {
    /// Starts it.
    pub fn start(order: &SceneOrder) -> Result<Offender, Failure> {
        let process = Running::start(&mut part::command(PART, order)?)?;
        Ok(Offender(process.dropped_within(LAST_WAIT)))
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Result<Option<ExitStatus>, Failure> {
        self.0.ended()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.pid().as_raw().cast_unsigned()
    }

    /// Processor time that it has had, in the kernel, too.
    pub fn worked(&self) -> Duration {
        processor_time(self.pid())
    }

    /// Sends SIGKILL to all of it.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Whether what takes no time in particular is done, and the act itself has begun.
    pub fn is_ready(&self) -> bool {
        self.said().lines().any(|line| line == READY)
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.0.said().unwrap_or_default()
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
