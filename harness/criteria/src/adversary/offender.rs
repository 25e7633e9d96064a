//! The adversary's process, from its start to its end, for which we may have to wait.

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
/// How long dropping it waits for a process that does not end.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The process, killed on drop. A process in a request that cannot be interrupted is left behind;
/// the trial has failed by then.
pub struct Offender(Running);

impl Offender {
    /// Starts it.
    pub fn start(order: &SceneOrder) -> Result<Offender, Failure> {
        let process = Running::start(&mut part::command(PART, order)?)?;
        Ok(Offender(process.dropped_within(LAST_WAIT)))
    }

    /// Its exit status, once it has ended.
    pub fn ended(&self) -> Result<Option<ExitStatus>, Failure> {
        self.0.ended()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.pid().as_raw().cast_unsigned()
    }

    /// Processor time that it has used, in the kernel as well.
    pub fn worked(&self) -> Duration {
        processor_time(self.pid())
    }

    /// Sends SIGKILL to its process group.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Whether the preparations are done and the act itself has begun.
    pub fn is_ready(&self) -> bool {
        self.said().lines().any(|line| line == READY)
    }

    /// Its output so far.
    pub fn said(&self) -> String {
        self.0.said().unwrap_or_default()
    }

    /// The last step that it announced.
    pub fn last_words(&self) -> String {
        let said = self.said();
        let last = said.lines().rfind(|line| *line != READY).unwrap_or("nothing");
        last.to_owned()
    }

    /// The fault that it found, or its exit status if that is unexpected. SIGKILL is ours and
    /// counts as expected.
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
