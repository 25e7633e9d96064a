//! Runs a part of a trial, or a whole trial, in a process of its own: this program starts itself
//! again, with an environment variable that names the part. A faulty file system may kill its user
//! with SIGBUS, exhaust its memory or block it for ever, and that must not happen to the process
//! that runs the trials.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::child::{Running, in_words};
use crate::failure::{Failure, WithContext};

/// Variable that names the part.
const VARIABLE: &str = "VEXFS_VALIDATION_PART";
/// Variable that holds the part's order, as JSON.
const ORDER: &str = "VEXFS_VALIDATION_PART_ORDER";
/// Variable that names the file for the part's answer, if one is expected.
const ANSWER: &str = "VEXFS_VALIDATION_PART_ANSWER";

/// How many bytes of memory of its own a part may have; no part needs a tenth of that. A file or a
/// directory without an end would otherwise exhaust the machine's memory. Mappings of files, which
/// the parts test, do not count.
pub const MOST_MEMORY: rlim_t = 2 << 30;

/// The function of a part; its argument is the order, as JSON.
pub type Part = fn(&str) -> Result<(), Failure>;

/// A command that runs part `name` with `order`; neither it nor what it starts may have more than
/// [`MOST_MEMORY`].
pub fn command(name: &str, order: &impl Serialize) -> Result<Command, Failure> {
    let mut command = unlimited_command(name, order)?;
    with_memory(&mut command, MOST_MEMORY);
    Ok(command)
}

/// As [`command`], for a part that starts programs which need more memory, such as daemons. The
/// part calls [`limit_memory`] itself.
pub fn unlimited_command(name: &str, order: &impl Serialize) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe().context("this program's path")?);
    command.env(VARIABLE, name).env(ORDER, serde_json::to_string(order)?).env_remove(ANSWER);
    Ok(command)
}

fn with_memory(command: &mut Command, bytes: rlim_t) {
    // SAFETY: between fork and exec only setrlimit(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?));
    }
}

/// The soft and the hard limit before [`limit_memory`].
static BEFORE: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Limits this process, but not the programs that it starts, to [`MOST_MEMORY`].
///
/// # Errors
/// If the system refuses the limit.
pub fn limit_memory() -> Result<(), Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_DATA).context("getrlimit")?;
    let (soft, hard) = *BEFORE.get_or_init(|| (soft, hard));
    setrlimit(Resource::RLIMIT_DATA, soft.min(MOST_MEMORY), hard).context("setrlimit")
}

/// Gives the program of `command` the memory limit that this process had before [`limit_memory`].
pub fn without_our_limit(command: &mut Command) {
    let Some(&(soft, hard)) = BEFORE.get() else { return };
    // SAFETY: between fork and exec only setrlimit(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            let (_, hardest) = getrlimit(Resource::RLIMIT_DATA)?;
            // A part's own limit, which was set before, stays.
            if hardest < hard { Ok(()) } else { Ok(setrlimit(Resource::RLIMIT_DATA, soft, hard)?) }
        });
    }
}

/// Whether this process was started to play the part `name`.
pub fn is(name: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|named| named == name)
}

/// If this process was started for one of `parts`, runs that part and returns its exit code.
pub fn main(parts: &[(&str, Part)]) -> Option<ExitCode> {
    let name = std::env::var(VARIABLE).ok()?;
    let Some((_, part)) = parts.iter().find(|(known, _)| *known == name) else {
        eprintln!("error: {VARIABLE}={name}: there is no such part");
        return Some(evidence::exit::USAGE.into());
    };
    Some(play(part))
}

/// Plays the part for which this process was started, and returns its exit code.
pub fn play(part: impl FnOnce(&str) -> Result<(), Failure>) -> ExitCode {
    let order = std::env::var(ORDER).unwrap_or_default();
    match part(&order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("found: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Hands `answer` to the process that called [`ask`].
///
/// # Errors
/// If nobody asked, or the answer cannot be written.
pub fn answer(answer: &impl Serialize) -> Result<(), Failure> {
    let file = std::env::var(ANSWER).context(ANSWER)?;
    fs::write(&file, serde_json::to_vec(answer)?).context(file)
}

/// An answer, and the end of what the part has printed.
#[derive(Debug)]
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// Standard output and standard error.
    pub output: String,
}

/// Runs the part of `command`, which must [answer](answer) and end within `limit`.
///
/// # Errors
/// If there is no answer: the signal that ended the part, or that it was not done in time, with the
/// end of what it printed. If the signal came from somebody else, nothing is decided.
pub fn ask<T: DeserializeOwned>(
    mut command: Command,
    limit: Duration,
) -> Result<Answered<T>, Failure> {
    // An unnamed file, of which nothing is left if this process is killed.
    let file = tempfile::tempfile()?;
    command.env(ANSWER, format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    let running = Running::start(&mut command)?;
    let ended = running.finish(limit).context("the process that tried it")?;
    if ended.status.success()
        && let Some(answer) = read(&file)
    {
        return Ok(Answered { answer, output: ended.tail() });
    }
    let said = ended.tail();
    let why = why(ended.status, &ended.output);
    let said = if said.is_empty() { said } else { format!("; it said:\n{said}") };
    let told = format!("{why}{said}");
    Err(match signal(ended.status) {
        Some(Signal::SIGKILL | Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP) => {
            Failure::undecided(format!("{told}; somebody sent it, or the memory was exhausted"))
        }
        _ => Failure::new(told),
    })
}

fn read<T: DeserializeOwned>(answer: &File) -> Option<T> {
    serde_json::from_reader(answer).ok()
}

fn signal(status: ExitStatus) -> Option<Signal> {
    Signal::try_from(status.signal()?).ok()
}

/// Explains how a part ended that has not answered.
fn why(status: ExitStatus, said: &str) -> String {
    match signal(status) {
        Some(Signal::SIGBUS) => {
            "the process that tried it was killed by SIGBUS: a byte of a mapping, within its \
             file, could not be had"
                .to_owned()
        }
        // Rust aborts a program in this way if it cannot allocate memory.
        Some(Signal::SIGABRT) if said.contains("memory allocation of ") => format!(
            "the process that tried it needed more than {} GiB of memory: what it reads, a file or \
             a directory, has no end",
            MOST_MEMORY >> 30
        ),
        _ => format!("the process that tried it {}", in_words(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that reads without end is stopped by its own limit, before the machine runs out of
    /// memory.
    #[test]
    fn memory_has_an_end() {
        let mut endless = Command::new("tail");
        with_memory(endless.arg("/dev/zero"), 64 << 20);
        let ended = Running::start(&mut endless).unwrap().finish(Duration::from_secs(60)).unwrap();
        assert!(!ended.status.success() && ended.output.contains("memory"), "{}", ended.output);
    }

    #[test]
    fn our_own_limit_is_not_that_of_the_programs_we_start() {
        let limit = || {
            let mut shell = Command::new("sh");
            shell.args(["-c", "ulimit -d"]);
            Running::start(&mut shell).unwrap().finish(Duration::from_secs(60)).unwrap().output
        };
        let before = limit();
        limit_memory().unwrap();
        limit_memory().unwrap();
        let (ours, _) = getrlimit(Resource::RLIMIT_DATA).unwrap();
        assert!(ours <= MOST_MEMORY, "{ours}");
        assert_eq!(limit(), before);
        // A part has a limit of its own, which a second one does not lift.
        let mut limited = Command::new("sh");
        with_memory(limited.args(["-c", "ulimit -d"]), 64 << 20);
        let ended = Running::start(&mut limited).unwrap().finish(Duration::from_secs(60)).unwrap();
        assert_eq!(ended.output.trim(), (64 << 10).to_string());
    }

    #[test]
    fn what_has_no_end_is_named() {
        let aborted = ExitStatus::from_raw(libc::SIGABRT);
        let said = why(aborted, "memory allocation of 1073741824 bytes failed");
        assert!(said.contains("more than 2 GiB of memory") && said.contains("no end"), "{said}");
        assert_eq!(why(aborted, ""), "the process that tried it was killed by SIGABRT");
    }

    fn asked(script: &str) -> Result<Answered<u32>, Failure> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ask(command, Duration::from_secs(60))
    }

    #[test]
    fn an_answer_or_the_end_is_told() {
        let answered = asked(&format!("echo 7 >${ANSWER}; echo said")).unwrap();
        assert_eq!((answered.answer, answered.output.as_str()), (7, "said"));
        let failure = asked("echo last words; kill -BUS $$").unwrap_err();
        let told = failure.to_string();
        assert!(told.contains("SIGBUS") && told.ends_with("it said:\nlast words"), "{told}");
        assert!(!failure.is_undecided());
        let told = asked("exit 0").unwrap_err().to_string();
        assert_eq!(told, "the process that tried it exited with status 0");
        let failure = asked("kill -KILL $$").unwrap_err();
        assert!(failure.is_undecided() && failure.to_string().contains("SIGKILL"), "{failure}");
    }
}
