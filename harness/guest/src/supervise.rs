//! Watches a guest: reads its output, enforces the limits, and kills its whole process group.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use evidence::files::CONSOLE_FILE;
use evidence::guest::TAIL_LINES;
use evidence::kernel_log::{Finding, Trouble, trouble_in};
use machine::child::Supervised;

use super::end::StopReason;
use super::error::VmError;
use super::lines::{self, ConsoleEvent, Stream};
use super::process::ProcessGroup;
use super::request::{GuestLimits, Observer};
use super::status::GuestStatus;
use super::terminal::TerminalForeground;

/// The name, in the evidence directory, of the file with the command's output.
pub const OUTPUT_FILE: &str = "guest-output.log";

/// How often limits, signals and the guest's status are checked.
const TICK: Duration = Duration::from_millis(100);

/// A boot that keeps printing may take this many times the limit on its silence. A machine at load
/// 20 took 500 s to boot. The limit ends a guest that reboots in a loop.
const SLOWEST_BOOT: u32 = 6;

/// How long a command may continue after the kernel reported trouble, because it may still print
/// what it saw.
const PATIENCE_AFTER_TROUBLE: Duration = Duration::from_secs(180);

/// How long to read the rest of the pipes after all their writers have been killed.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// What is watched, and for how long.
pub(super) struct Supervisor<'a> {
    pub evidence: &'a Path,
    /// A directory that is removed when the guest ends.
    pub scratch: &'a Path,
    pub limits: GuestLimits,
    /// Whether the guest has the terminal: its output is then not read, and only its boot has a
    /// limit.
    pub interactive: bool,
    pub interrupted: &'a dyn Fn() -> bool,
}

/// What the supervisor saw of a guest.
#[derive(Debug)]
pub(super) struct Observed {
    pub stop: StopReason,
    pub findings: Vec<Finding>,
    pub console_tail: VecDeque<String>,
    pub boot: Option<Duration>,
    pub first_output: Option<Duration>,
    pub total: Duration,
}

impl Supervisor<'_> {
    /// Starts `command` and watches it until it ends by itself, by a limit or by a signal. When
    /// this returns, even with an error, none of its processes is left.
    pub(super) fn run(
        &self,
        command: &mut Command,
        observer: &mut dyn Observer,
    ) -> Result<Observed, VmError> {
        let console = self.log(CONSOLE_FILE)?;
        let output = self.log(OUTPUT_FILE)?;
        let cannot = || VmError::system("the guest cannot be started; check with: make setup");
        let mut group = ProcessGroup::begin(self.scratch).map_err(cannot())?;
        command.stderr(Stdio::piped());
        if !self.interactive {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
        }
        let mut child = group.spawn(command).map_err(cannot())?;
        let _foreground = self.interactive.then(|| TerminalForeground::give_to(group.id()));
        let (events, open) = readers(&mut child).map_err(cannot())?;
        let now = Instant::now();
        let mut session = Session {
            supervisor: self,
            console,
            output,
            open,
            start: now,
            last_output: now,
            last_console: now,
            seen: Observed {
                stop: StopReason::Ended,
                findings: Vec::new(),
                console_tail: VecDeque::new(),
                boot: None,
                first_output: None,
                total: Duration::ZERO,
            },
        };
        session.seen.stop = session.until_stop(&mut child, &events, observer)?;
        session.seen.total = session.start.elapsed();
        group.end();
        session.drain(&events, observer)?;
        Ok(session.seen)
    }

    fn log(&self, name: &str) -> Result<(File, &'static str), VmError> {
        let path = self.evidence.join(name);
        // Append, because the evidence of a run may come from more than one boot.
        let file = File::options().append(true).create(true).open(&path);
        let file = file.map_err(VmError::evidence(path))?;
        Ok((file, if name == CONSOLE_FILE { CONSOLE_FILE } else { OUTPUT_FILE }))
    }
}

/// Starts one reader for each pipe of `child`.
fn readers(child: &mut Supervised) -> std::io::Result<(Receiver<ConsoleEvent>, usize)> {
    let (report, events) = lines::channel();
    let mut open = 0;
    if let Some(stderr) = child.child().stderr.take() {
        lines::read(Stream::Console, stderr, report.clone())?;
        open += 1;
    }
    if let Some(stdout) = child.child().stdout.take() {
        lines::read(Stream::Output, stdout, report)?;
        open += 1;
    }
    Ok((events, open))
}

struct Session<'a> {
    supervisor: &'a Supervisor<'a>,
    console: (File, &'static str),
    output: (File, &'static str),
    /// How many pipes have not ended.
    open: usize,
    start: Instant,
    last_output: Instant,
    /// When the console last printed a line that reports no trouble. How long a boot takes depends
    /// on the machine, so what counts is whether it makes progress.
    last_console: Instant,
    seen: Observed,
}

impl Session<'_> {
    fn until_stop(
        &mut self,
        child: &mut Supervised,
        events: &Receiver<ConsoleEvent>,
        observer: &mut dyn Observer,
    ) -> Result<StopReason, VmError> {
        loop {
            match events.recv_timeout(TICK) {
                Ok(event) => self.take(event, observer)?,
                Err(RecvTimeoutError::Timeout) => {}
                // All pipes have ended; only the end of the process is still to come.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
            }
            if (self.supervisor.interrupted)() {
                return Ok(StopReason::Interrupted);
            }
            let ended = child.ended().map_err(VmError::system("the guest cannot be waited for"))?;
            if ended.is_some() {
                return Ok(StopReason::Ended);
            }
            self.look_for_boot();
            if let Some(stop) = self.limit_passed() {
                return Ok(stop);
            }
        }
    }

    /// Reads what is left in the pipes.
    fn drain(
        &mut self,
        events: &Receiver<ConsoleEvent>,
        observer: &mut dyn Observer,
    ) -> Result<(), VmError> {
        let deadline = Instant::now() + DRAIN_LIMIT;
        while self.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = events.recv_timeout(left) else { break };
            self.take(event, observer)?;
        }
        self.look_for_boot();
        Ok(())
    }

    fn take(&mut self, event: ConsoleEvent, observer: &mut dyn Observer) -> Result<(), VmError> {
        match event {
            ConsoleEvent::End => self.open -= 1,
            ConsoleEvent::Line(Stream::Output, line) => {
                self.last_output = Instant::now();
                self.seen.first_output.get_or_insert_with(|| self.start.elapsed());
                append(&mut self.output, &line, self.supervisor.evidence)?;
                observer.output(&line);
            }
            ConsoleEvent::Line(Stream::Console, line) => {
                append(&mut self.console, &line, self.supervisor.evidence)?;
                if let Some(finding) = trouble_in(&line) {
                    // A stuck kernel repeats its warning, so only the first one counts as progress.
                    if self.seen.findings.is_empty() {
                        self.last_output = Instant::now();
                    }
                    observer.trouble(&finding);
                    self.seen.findings.push(finding);
                } else {
                    self.last_console = Instant::now();
                    // If virtme-ng did not find its ports in time, the command prints on the
                    // console.
                    if self.seen.boot.is_some() && self.seen.first_output.is_none() {
                        self.last_output = self.last_console;
                    }
                }
                observer.console(&line);
                if self.seen.console_tail.len() == TAIL_LINES {
                    self.seen.console_tail.pop_front();
                }
                self.seen.console_tail.push_back(line);
            }
        }
        Ok(())
    }

    fn look_for_boot(&mut self) {
        if self.seen.boot.is_none() && GuestStatus::read(self.supervisor.evidence).is_some() {
            self.seen.boot = Some(self.start.elapsed());
            self.last_output = Instant::now();
        }
    }

    fn limit_passed(&self) -> Option<StopReason> {
        let GuestLimits { boot, silence, total } = self.supervisor.limits;
        if self.seen.boot.is_none() {
            if self.last_console.elapsed() >= boot {
                return Some(StopReason::BootSilence(boot.as_secs()));
            }
            let longest = boot * SLOWEST_BOOT;
            return (self.start.elapsed() >= longest)
                .then_some(StopReason::BootLimit(longest.as_secs()));
        }
        if self.supervisor.interactive {
            return None;
        }
        let mut patience = silence;
        if self.seen.findings.iter().any(|finding| finding.trouble != Trouble::Warning) {
            patience = silence.min(PATIENCE_AFTER_TROUBLE);
        }
        if self.last_output.elapsed() >= patience {
            return Some(StopReason::SilenceLimit(patience.as_secs()));
        }
        (self.start.elapsed() >= total).then_some(StopReason::TimeLimit(total.as_secs()))
    }
}

/// Writes a line unbuffered, so that the log is complete after a crash.
fn append(log: &mut (File, &'static str), line: &str, evidence: &Path) -> Result<(), VmError> {
    log.0.write_all(format!("{line}\n").as_bytes()).map_err(VmError::evidence(evidence.join(log.1)))
}

#[cfg(test)]
mod tests;
