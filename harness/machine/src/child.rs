//! Starts programs, waits for them with a limit, and kills them; none outlives this process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::deadline::wait_for;
use crate::failure::{Failure, WithContext};
use crate::memory_limit;

/// How many of the last lines of a program's output a failure repeats.
const TAIL_LINES: usize = 30;
/// How many of the last bytes at most: a program may print a line without end.
const TAIL_BYTES: usize = 16 << 10;
/// How many bytes a program may print; real output is less than a tenth of this.
const MOST_OUTPUT: u64 = 256 << 20;
/// How long to wait for a killed program. A program that is blocked in a hanging file system never
/// ends.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How a program ended: `exited with status 1`, `was killed by SIGSEGV`.
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

/// Makes the kernel send `signal` to the program when the thread that starts it ends, so that no
/// program outlives a trial that is killed.
pub fn die_with_us(command: &mut Command, signal: Signal) {
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
    unsafe {
        command
            .pre_exec(move || nix::sys::prctl::set_pdeathsig(signal).map_err(std::io::Error::from));
    }
}

/// A child that is killed and reaped when this is dropped. All code waits for processes, asks how
/// they ended, and ends them through this type.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    child: Child,
    /// Whether it leads a process group of its own, which is killed with it.
    leads_group: bool,
    /// Ends every wait for it when it returns true.
    interrupted: fn() -> bool,
    /// How long to wait for it after killing it.
    end_limit: Duration,
}

impl Supervised {
    /// Starts `command` in a process group of its own. Failures call it `name`. It is killed when
    /// the thread that starts it ends.
    pub fn start(name: &str, command: &mut Command) -> Result<Supervised, Failure> {
        command.process_group(0);
        die_with_us(command, Signal::SIGKILL);
        memory_limit::without_ours(command);
        let child = command.spawn().context(format!("starting {name}"))?;
        let mut supervised = Supervised::of(name, child);
        supervised.leads_group = true;
        Ok(supervised)
    }

    /// Supervises a child that shares its process group with others, which are not killed with it.
    pub fn of(name: &str, child: Child) -> Supervised {
        let (name, interrupted) = (name.to_owned(), (|| false) as fn() -> bool);
        Supervised { name, child, leads_group: false, interrupted, end_limit: END_LIMIT }
    }

    /// Stops waiting for it as soon as `interrupted` returns true. For children that have nothing
    /// to clean up.
    #[must_use]
    pub fn until(mut self, interrupted: fn() -> bool) -> Self {
        self.interrupted = interrupted;
        self
    }

    /// Waits at most `limit` for it after killing it on drop.
    #[must_use]
    pub fn dropped_within(mut self, limit: Duration) -> Self {
        self.end_limit = limit;
        self
    }

    /// The name that failures use for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// How it ended, if it has. It is reaped only on drop: until then its process id is not reused,
    /// so killing the group with that id is safe.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // Encodes the status as wait(2) does, because that is what ExitStatus is made from.
        Ok(match waitid(Id::Pid(self.pid()), look)? {
            WaitStatus::Exited(_, code) => Some(ExitStatus::from_raw((code & 0xff) << 8)),
            WaitStatus::Signaled(_, signal, core) => {
                Some(ExitStatus::from_raw(signal as i32 | if core { 0x80 } else { 0 }))
            }
            _ => None,
        })
    }

    /// Fails if the wait was interrupted.
    pub fn must_not_be_interrupted(&self) -> Result<(), Failure> {
        crate::require!(!(self.interrupted)(), "interrupted while waiting for {}", self.name);
        Ok(())
    }

    /// Waits for its end, calling `look` meanwhile.
    ///
    /// # Errors
    /// If it has not ended within `limit`, the wait was [interrupted](Supervised::until), or `look`
    /// fails.
    pub fn wait(
        &self,
        limit: Duration,
        mut look: impl FnMut() -> Result<(), Failure>,
    ) -> Result<ExitStatus, Failure> {
        wait_for(&self.name, limit, || {
            let status = self.ended()?;
            look()?;
            if status.is_none() {
                self.must_not_be_interrupted()?;
            }
            Ok(status)
        })
    }

    /// Sends `signal` to it, or to the whole group if it leads one.
    pub fn signal(&self, signal: Signal) {
        // ESRCH: it has already gone.
        let _ =
            if self.leads_group { killpg(self.pid(), signal) } else { kill(self.pid(), signal) };
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = wait_for("", self.end_limit, || Ok(self.child.try_wait()?));
    }
}

/// As [`Command::output`], with a limit: a program that is not done by then is killed with its group.
///
/// # Errors
/// It cannot be started, or is not done within `limit`.
pub fn output(command: &mut Command, limit: Duration) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let [said, complained] = [tempfile::tempfile()?, tempfile::tempfile()?];
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(complained.try_clone()?);
    let process = Supervised::start(&name, command)?;
    let status = process.wait(limit, || {
        let printed = said.metadata()?.len() + complained.metadata()?.len();
        crate::require!(printed <= MOST_OUTPUT, "{name} prints without end");
        Ok(())
    })?;
    let [stdout, stderr] = [read_all(&said)?, read_all(&complained)?];
    Ok(Output { status, stdout, stderr })
}

/// The contents of a file that a program may still be writing to through the same file position, so
/// the position is left alone.
fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(MOST_OUTPUT);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The processes of the process group `group` that are still running, with their names; zombies are
/// left out.
pub fn members(group: Pid) -> Result<Vec<(Pid, String)>, Failure> {
    let mut members = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        // proc_pid_stat(5): pid (name) state parent group ...; the name may contain anything. The
        // process may have ended since it was listed.
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let Some((name, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        if let Some((pid, name)) = name.split_once(" (")
            && let [state, _, of, ..] = fields[..]
            && of.parse() == Ok(group.as_raw())
            && !matches!(state, "Z" | "X")
        {
            members.push((Pid::from_raw(pid.parse()?), name.to_owned()));
        }
    }
    Ok(members)
}

/// A program in a process group of its own, whose output is kept until it has ended.
#[derive(Debug)]
pub struct Running {
    process: Supervised,
    /// Its standard output and error, in an unnamed file. Unlike a pipe, a file never blocks the
    /// writer, and an unnamed one disappears when this process ends.
    output: File,
}

/// How a program ended, and what it printed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Standard output and standard error.
    pub output: String,
}

impl Running {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Result<Running, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = tempfile::tempfile()?;
        let stream = || output.try_clone();
        command.stdin(Stdio::null()).stdout(stream()?).stderr(stream()?);
        Ok(Running { process: Supervised::start(&name, command)?, output })
    }

    /// As [`Supervised::until`].
    #[must_use]
    pub fn until(mut self, interrupted: fn() -> bool) -> Self {
        self.process = self.process.until(interrupted);
        self
    }

    /// As [`Supervised::dropped_within`].
    #[must_use]
    pub fn dropped_within(mut self, limit: Duration) -> Self {
        self.process = self.process.dropped_within(limit);
        self
    }

    /// Its process id, which is also its group's id.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// How it ended, if it has; it must still be [finished](Running::finish).
    pub fn ended(&self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.process.ended()?)
    }

    /// Sends SIGKILL to its group.
    pub fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
    }

    /// What it has printed so far.
    pub fn said(&self) -> Result<String, Failure> {
        let output = read_all(&self.output).context(self.process.name())?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it has not ended within `limit`, or the wait was [interrupted](Running::until); with the
    /// end of its output.
    pub fn finish(self, limit: Duration) -> Result<Finished, Failure> {
        let ended = self.process.wait(limit, || {
            let printed = self.output.metadata()?.len();
            crate::require!(printed <= MOST_OUTPUT, "{} prints without end", self.process.name());
            Ok(())
        });
        let output = self.said()?;
        match ended {
            Ok(status) => Ok(Finished { status, output }),
            Err(given_up) => crate::fail!("{given_up}; its last words:\n{}", tail(&output)),
        }
    }
}

impl Finished {
    /// Checks that the program ended with status 0.
    ///
    /// # Errors
    /// If it did not: how it ended, and the end of its output.
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
    pub fn tail(&self) -> String {
        tail(&self.output)
    }
}

/// The last lines of a program's output.
fn tail(output: &str) -> String {
    let left_out = (output.len().saturating_sub(TAIL_BYTES)..)
        .find(|&at| output.is_char_boundary(at))
        .unwrap_or_default();
    let lines: Vec<&str> = output[left_out..].lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    let told = lines[first..].join("\n");
    match (first, left_out) {
        (0, 1..) => format!("[{left_out} bytes are left out]{told}"),
        _ => told,
    }
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
    fn a_line_without_end_is_cut_short() {
        assert_eq!(tail("one\ntwo\n"), "one\ntwo");
        let told = tail(&format!("first {}last\n", "\u{e4}".repeat(TAIL_BYTES)));
        assert!(told.starts_with("[16396 bytes are left out]\u{e4}"), "{}", &told[..64]);
        assert!(told.ends_with("last") && told.len() < TAIL_BYTES + 64, "{}", told.len());
        assert_eq!(tail(&"line\n".repeat(TAIL_BYTES)), ["line"; TAIL_LINES].join("\n"));
    }

    #[test]
    fn both_streams_are_kept_apart_and_have_a_limit() {
        let run = |script: &str, limit| output(Command::new("sh").args(["-c", script]), limit);
        let done = run("echo out; echo error >&2; exit 3", Duration::from_secs(60)).unwrap();
        assert_eq!((&done.stdout[..], &done.stderr[..]), (&b"out\n"[..], &b"error\n"[..]));
        assert_eq!(done.status.code(), Some(3));
        let late = run("sleep 1000", Duration::from_millis(200)).unwrap_err().to_string();
        assert!(late.contains("sh: not within"), "{late}");
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
