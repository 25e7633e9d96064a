//! The adversary's process, from its start to its end, for which we may have to wait.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use machine::child::{Running, in_words};
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

    /// The fault that it found, or what is wrong with its end; `killed` says whether we killed it.
    pub fn finding(&self, status: ExitStatus, killed: bool) -> Option<String> {
        let said = self.said();
        if let Some(found) = said.find("found: ") {
            return Some(said[found + "found: ".len()..].trim_end().to_owned());
        }
        let said = said.trim_end();
        match (status.code(), status.signal()) {
            (None, Some(libc::SIGKILL)) if killed => None,
            (Some(0), _) if said.lines().any(|line| line == READY) => None,
            (Some(0), _) => {
                Some(format!("the adversary ended before it began, so nothing was tried: {said}"))
            }
            _ => Some(format!("the adversary {}: {said}", in_words(status))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use machine::deadline::wait_for;

    use super::*;

    fn finding(script: &str, killed: bool) -> Option<String> {
        let running = Running::start(Command::new("sh").args(["-c", script])).unwrap();
        let offender = Offender(running);
        let status = wait_for("sh", Duration::from_secs(60), || offender.ended()).unwrap();
        offender.finding(status, killed)
    }

    #[test]
    fn an_end_is_a_fault_unless_it_had_begun_or_we_killed_it() {
        assert_eq!(finding("echo one; echo ready; echo two", false), None);
        assert_eq!(finding("echo one; kill -KILL $$", true), None);
        let found = |script: &str, words: &str| {
            let found = finding(script, false).unwrap();
            assert!(found.contains(words), "{found}");
        };
        found("echo one", "ended before it began, so nothing was tried: one");
        found("echo ready; kill -KILL $$", "killed by SIGKILL");
        found("echo ready; kill -SEGV $$", "killed by SIGSEGV");
        found("echo ready; exit 3", "exited with status 3");
        found("echo ready; echo 'found: a fault'", "a fault");
    }
}
