//! Programs that we start: none outlives its limit or us.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::deadline::wait_for;
use crate::failure::{Failure, While};

/// Lines of a program's output that a failure repeats.
const TAIL_LINES: usize = 30;
/// Bytes that a program may print: none of those that are worth reading prints a tenth.
const MOST_OUTPUT: u64 = 256 << 20;
/// How long a killed program may take to end; one that waits for a file system that hangs does not.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How a program ended: `exited with status 1`, `was killed by SIGSEGV`.
#[must_use]
pub fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, signal) => {
            let number = signal.unwrap_or_default();
            let name = Signal::try_from(number)
                .map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned());
            format!("was killed by {name}")
        }
    }
}

/// Makes the kernel send `signal` to the program when the thread that starts it ends: what a
/// killed trial started must not stay.
pub fn die_with_us(command: &mut Command, signal: Signal) {
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
    unsafe {
        command
            .pre_exec(move || nix::sys::prctl::set_pdeathsig(signal).map_err(std::io::Error::from));
    }
}

/// A program in a process group of its own, which is killed with the group and reaped on drop.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    /// Its output and error stream; a file, since nobody needs to read it for it to go on, and
    /// without a name, so that it goes with us.
    output: File,
    /// Ends the wait for it.
    interrupted: fn() -> bool,
}

/// How a program ended, and what it printed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Output and error stream.
    pub output: String,
}

impl Running {
    /// Starts `command`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(command: &mut Command) -> Result<Running, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = tempfile::tempfile()?;
        let stream = || output.try_clone();
        command.stdin(Stdio::null()).stdout(stream()?).stderr(stream()?).process_group(0);
        die_with_us(command, Signal::SIGKILL);
        let child = command.spawn().when(format!("starting {name}"))?;
        Ok(Running { name, child, output, interrupted: || false })
    }

    /// Gives up waiting for it as soon as `interrupted` says so: where nothing has to be cleaned up
    /// by it.
    #[must_use]
    pub fn until(mut self, interrupted: fn() -> bool) -> Self {
        self.interrupted = interrupted;
        self
    }

    /// Its process id, which is its group's.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Whether it has ended; it is still to be [finished](Running::finish).
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub fn has_ended(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It is not done within `limit`, or the wait was [interrupted](Running::until); with the end
    /// of its output.
    pub fn finish(mut self, limit: Duration) -> Result<Finished, Failure> {
        let ended = wait_for(&self.name, limit, || {
            let status = self.child.try_wait()?;
            let printed = self.output.metadata()?.len();
            crate::require!(printed <= MOST_OUTPUT, "{} prints without end", self.name);
            let stop = status.is_none() && (self.interrupted)();
            crate::require!(!stop, "interrupted while waiting for {}", self.name);
            Ok(status)
        });
        // Where it is still being written to, its position is not ours.
        let length = self.output.metadata()?.len().min(MOST_OUTPUT);
        let mut output = vec![0; usize::try_from(length)?];
        self.output.read_exact_at(&mut output, 0).when(&self.name)?;
        let output = String::from_utf8_lossy(&output).into_owned();
        match ended {
            Ok(status) => Ok(Finished { status, output }),
            Err(given_up) => crate::fail!("{given_up}; its last words:\n{}", tail(&output)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whatever of the group is left; it fails where nothing is.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = wait_for("", END_LIMIT, || Ok(self.child.try_wait()?));
    }
}

impl Finished {
    /// That the program ended with status 0.
    ///
    /// # Errors
    /// How it ended otherwise, with the end of its output.
    pub fn must_succeed(&self, what: &str) -> Result<(), Failure> {
        crate::require!(
            self.status.success(),
            "{what} ended with {}:\n{}",
            self.status,
            self.tail()
        );
        Ok(())
    }

    /// The end of what it printed, for a failure.
    #[must_use]
    pub fn tail(&self) -> String {
        tail(&self.output)
    }
}

/// The last lines of a program's output.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        Running::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn output_and_status_are_kept() {
        let done = shell("echo out; echo error >&2; exit 3").finish(Duration::from_secs(30));
        let done = done.unwrap();
        assert_eq!((done.output.as_str(), done.status.code()), ("out\nerror\n", Some(3)));
        assert!(done.must_succeed("sh").unwrap_err().to_string().ends_with("out\nerror"));
    }

    #[test]
    fn a_program_that_takes_too_long_goes_with_its_children() {
        let running = shell("echo begun; sleep 1000 & sleep 1000");
        let group = running.pid();
        let failure = running.finish(Duration::from_millis(200)).unwrap_err().to_string();
        assert!(failure.contains("sh: not within"), "{failure}");
        // The children are zombies until init has reaped them.
        wait_for("the group's end", Duration::from_secs(30), || {
            Ok(killpg(group, None).is_err().then_some(()))
        })
        .unwrap();
    }
}
