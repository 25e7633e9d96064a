//! A child that answers line by line. Every wait has a limit, and dropping it kills the child.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use machine::child::{Supervised, in_words};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The longest line that is read, so that a child that never stops printing cannot fill the memory.
const LONGEST_LINE: usize = 16 << 20;
/// How many bytes of stderr a failure shows.
const STDERR_TAIL: u64 = 2048;
/// How long a signal that arrives just before a wait may remain unnoticed.
const GLANCE: Duration = Duration::from_secs(1);
/// How long a child whose output has ended may take to exit.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// A running child that answers requests line by line.
pub struct Process {
    child: Supervised,
    /// `None` after it has been closed.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// A file, so that a child that writes much to stderr never waits for a reader.
    stderr: File,
    /// Input that does not form a whole line yet.
    pending: Vec<u8>,
}

impl Process {
    /// Starts `command`; failures call it `name`.
    pub fn start(name: &str, mut command: Command) -> Result<Self, Failure> {
        let stderr = tempfile::tempfile().context("a temporary file for stderr")?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.try_clone()?);
        let mut child =
            Supervised::start(name, &mut command).context(command.get_program().display())?;
        let pipes = child.child();
        let (stdin, stdout) = (pipes.stdin.take(), pipes.stdout.take());
        let Some(stdout) = stdout else { fail!("{name} was started without a pipe") };
        Ok(Process { child, stdin, stdout, stderr, pending: Vec::new() })
    }

    /// Stops waiting for the child as soon as `interrupted` returns true.
    pub fn until(mut self, interrupted: fn() -> bool) -> Self {
        self.child = self.child.until(interrupted);
        self
    }

    /// Writes a line to its standard input. Lines are short and answered one by one, so they always
    /// fit into the pipe.
    ///
    /// # Errors
    /// If the child has gone; with its exit status and the end of its stderr.
    pub fn write_line(&mut self, line: &str) -> Result<(), Failure> {
        let Some(stdin) = &mut self.stdin else {
            fail!("{}: its input is closed", self.child.name())
        };
        match stdin.write_all(format!("{line}\n").as_bytes()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(self.death()),
            result => result.context(format!("writing to {}", self.child.name())),
        }
    }

    /// The next line of its standard output.
    ///
    /// # Errors
    /// If no line came before `deadline`, or the child has gone, with the end of its stderr; or the
    /// wait was [interrupted](Process::until).
    pub fn read_line(&mut self, deadline: Instant) -> Result<String, Failure> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending[searched..].iter().position(|&byte| byte == b'\n') {
                let rest = self.pending.split_off(searched + at + 1);
                let line = std::mem::replace(&mut self.pending, rest);
                return Ok(String::from_utf8_lossy(&line[..line.len() - 1]).into_owned());
            }
            searched = self.pending.len();
            require!(searched < LONGEST_LINE, "{} printed a line without end", self.child.name());
            if !self.readable(deadline)? {
                fail!("{} did not answer in time{}", self.child.name(), self.stderr_tail());
            }
            let mut buffer = [0; 64 << 10];
            match self.stdout.read(&mut buffer) {
                Ok(0) => return Err(self.death()),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(error).context(format!("reading from {}", self.child.name()));
                }
            }
        }
    }

    /// Closes its standard input and waits until it exits.
    ///
    /// # Errors
    /// If it had not exited by `deadline`, or not with status 0.
    pub fn finish(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.stdin = None;
        let (end, well) = self.end_by(deadline);
        require!(well, "{} {end}{}", self.child.name(), self.stderr_tail());
        Ok(())
    }

    /// The end of its stderr, on lines of its own, for a failure.
    pub fn stderr_tail(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = &self.stderr;
            let length = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(length.saturating_sub(STDERR_TAIL)))?;
            let mut tail = Vec::new();
            file.take(STDERR_TAIL).read_to_end(&mut tail)?;
            Ok(tail)
        };
        match read() {
            Ok(tail) if tail.is_empty() => "; it wrote nothing to stderr".to_owned(),
            Ok(tail) => {
                format!("; its stderr ends with:\n{}", String::from_utf8_lossy(&tail).trim_end())
            }
            Err(error) => format!("; its stderr cannot be read: {error}"),
        }
    }

    /// Whether there is output to read, or the end of it, before `deadline`.
    fn readable(&self, deadline: Instant) -> Result<bool, Failure> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.child.must_not_be_interrupted()?;
            // Round up: the last fraction of a millisecond must not become a busy loop.
            let millis = left.min(GLANCE).as_millis() + 1;
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => {
                    return Err(errno).context(format!("waiting for {}", self.child.name()));
                }
            }
        }
    }

    fn death(&mut self) -> Failure {
        let (end, _) = self.end_by(Instant::now() + EXIT_LIMIT);
        let name = self.child.name();
        Failure::new(format!("{name} {end} before it answered{}", self.stderr_tail()))
    }

    /// How it ended, or what it did instead until `deadline`, and whether it exited with status 0.
    fn end_by(&self, deadline: Instant) -> (String, bool) {
        let left = deadline.saturating_duration_since(Instant::now());
        match wait_for("its end", left, || Ok(self.child.ended()?)) {
            Ok(status) => (in_words(status), status.success()),
            Err(_) => ("closed its output without exiting".to_owned(), false),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;

    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Process::start("the child", command).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(200)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn lines_go_in_and_come_out() {
        let mut child = shell("while read -r line; do echo \"<$line>\"; echo second; done");
        child.write_line("first").unwrap();
        assert_eq!(child.read_line(late()).unwrap(), "<first>");
        assert_eq!(child.read_line(late()).unwrap(), "second");
        child.finish(late()).unwrap();
    }

    #[test]
    fn a_death_shows_status_and_stderr() {
        let mut child = shell("echo 'no such collection' >&2; exit 7");
        let message = child.read_line(late()).unwrap_err().to_string();
        assert!(message.contains("exited with status 7 before it answered"), "{message}");
        assert!(message.ends_with("its stderr ends with:\nno such collection"), "{message}");
        let mut child = shell("kill -SEGV $$");
        let message = child.read_line(late()).unwrap_err().to_string();
        assert!(message.contains("killed by SIGSEGV"), "{message}");
    }

    #[test]
    fn silence_has_a_limit() {
        let mut child = shell("exec sleep 1000");
        let message = child.read_line(soon()).unwrap_err().to_string();
        assert!(message.contains("did not answer in time"), "{message}");
    }

    #[test]
    fn an_interruption_ends_the_wait() {
        let mut child = shell("exec sleep 1000").until(|| true);
        let message = child.read_line(late()).unwrap_err().to_string();
        assert_eq!(message, "interrupted while waiting for the child");
    }

    #[test]
    fn writing_to_the_dead_says_how_they_died() {
        let mut child = shell("exit 3");
        while child.read_line(late()).is_ok() {}
        let message = child.write_line("anyone?").unwrap_err().to_string();
        assert!(message.contains("exited with status 3"), "{message}");
    }

    #[test]
    fn finishing_needs_a_clean_exit() {
        let message = shell("read -r x; exit 4").finish(late()).unwrap_err().to_string();
        assert!(message.contains("exited with status 4"), "{message}");
        let message = shell("exec sleep 1000").finish(soon()).unwrap_err().to_string();
        assert!(message.contains("without exiting"), "{message}");
    }

    /// The kernel kills it too if a signal leaves this process no time to clean up.
    #[test]
    fn it_ends_with_the_thread_that_started_it() {
        let started = std::thread::spawn(|| shell("echo begun; exec sleep 1000")).join().unwrap();
        assert_eq!(started.end_by(late()).0, "was killed by SIGKILL");
    }

    #[test]
    fn the_whole_group_goes() {
        let mut child = shell("sleep 1000 & echo $!; wait");
        let grandchild = Pid::from_raw(child.read_line(late()).unwrap().parse().unwrap());
        drop(child);
        // A killed orphan stays a zombie until init reaps it.
        wait_for("the grandchild's end", Duration::from_secs(60), || {
            let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat"));
            Ok(stat.map_or(true, |stat| stat.contains(") Z ")).then_some(()))
        })
        .unwrap();
    }
}
