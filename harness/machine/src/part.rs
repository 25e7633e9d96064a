//! Runs a part of a trial, or a whole trial, in a process of its own: this program starts itself
//! again, with an environment variable that names the part. A faulty file system may kill its user
//! with SIGBUS, exhaust its memory or block it for ever, and that must not happen to the process
//! that runs the trials.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::child::{Running, in_words};
use crate::failure::{Failure, WithContext};
use crate::memory_limit::{self, MOST_MEMORY};

/// Variable that names the part.
const VARIABLE: &str = "VEXFS_VALIDATION_PART";
/// Variable that holds the part's order, as JSON.
const ORDER: &str = "VEXFS_VALIDATION_PART_ORDER";
/// Variable that names the file for the part's answer, if one is expected.
const ANSWER: &str = "VEXFS_VALIDATION_PART_ANSWER";

/// The function of a part; its argument is the order, as JSON.
pub type Part = fn(&str) -> Result<(), Failure>;

/// A command that runs part `name` with `order`; neither it nor what it starts may have more than
/// [`MOST_MEMORY`].
pub fn command(name: &str, order: &impl Serialize) -> Result<Command, Failure> {
    let mut command = unlimited_command(name, order)?;
    memory_limit::set(&mut command, MOST_MEMORY);
    Ok(command)
}

/// As [`command`], for a part that starts programs which need more memory, such as daemons. The
/// part calls [`memory_limit::limit`] itself.
pub fn unlimited_command(name: &str, order: &impl Serialize) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe().context("this program's path")?);
    command.env(VARIABLE, name).env(ORDER, serde_json::to_string(order)?).env_remove(ANSWER);
    Ok(command)
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
    Asker::find()?.answer(answer)
}

/// The process that called [`ask`], for a part that gives up the right to reach it before it has an
/// answer.
pub struct Asker(File);

impl Asker {
    /// Opens the file for the answer.
    ///
    /// # Errors
    /// If nobody asked.
    pub fn find() -> Result<Asker, Failure> {
        let path = std::env::var(ANSWER).context(ANSWER)?;
        OpenOptions::new().write(true).truncate(true).open(&path).context(path).map(Asker)
    }

    /// Hands it `answer`.
    ///
    /// # Errors
    /// If the answer cannot be written.
    pub fn answer(mut self, answer: &impl Serialize) -> Result<(), Failure> {
        self.0.write_all(&serde_json::to_vec(answer)?).context(ANSWER)
    }
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
            Failure::undecided(format!("{told}; some process sent it, or the memory was exhausted"))
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
            "the process that tried it was killed by SIGBUS: a byte of a mapping, within its file, \
             could not be accessed"
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

    #[test]
    fn exhausted_memory_is_explained() {
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
    fn the_answer_or_the_exit_status_is_reported() {
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
