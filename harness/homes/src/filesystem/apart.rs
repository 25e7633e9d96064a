//! Runs an operation in a process of its own. A faulty file system may kill its user with SIGBUS or
//! block it for ever, and that must not happen to the process that runs the trials.

use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use machine::child::{Running, in_words};
use machine::failure::{Failure, WithContext};
use machine::{fail, part};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::first::first_things;
use super::operation::Operation;
use super::table::all_operations;

/// The name of the part that tries an operation.
pub const PART: &str = "operation";

/// The operation that the part must try.
#[derive(Serialize, Deserialize)]
struct ApartRequest {
    operation: String,
    mount: PathBuf,
    /// The file to which it writes its [`ApartAnswer`].
    answer: PathBuf,
}

/// The result of the operation: `None`, or a failure.
#[derive(Serialize, Deserialize)]
struct ApartAnswer(Option<Failed>);

#[derive(Serialize, Deserialize)]
struct Failed {
    message: String,
    errno: Option<i32>,
    undecided: bool,
}

impl Operation {
    /// Runs [`Operation::run`] in a process of its own, which must end within `limit`.
    ///
    /// # Errors
    /// As [`Operation::run`]; also the signal that ended the process, or that it was not done in
    /// time.
    pub fn run_apart(&self, mount: &Path, limit: Duration) -> Result<(), Failure> {
        // An unnamed file, of which nothing is left if this process is killed.
        let answer = tempfile::tempfile()?;
        let own = format!("/proc/{}/fd/{}", std::process::id(), answer.as_raw_fd());
        let order = ApartRequest {
            operation: self.name.to_owned(),
            mount: mount.to_owned(),
            answer: own.into(),
        };
        let ended = Running::start(&mut part::command(PART, &order)?)
            .and_then(|running| running.finish(limit))
            .context(self.name)?;
        if ended.status.success()
            && let Ok(ApartAnswer(outcome)) = serde_json::from_reader(&answer)
        {
            return outcome.map_or(Ok(()), |failed| Err(failed.into()));
        }
        let said = ended.tail();
        let why = why(ended.status, &said);
        let said = if said.is_empty() { said } else { format!("; it said:\n{said}") };
        fail!("{}: {why}{said}", self.name)
    }
}

/// Explains how the process that tried the operation ended.
fn why(status: ExitStatus, said: &str) -> String {
    match status.signal() {
        Some(libc::SIGBUS) => {
            "the process that tried it was killed by SIGBUS: a byte of a mapping, within its \
             file, could not be had"
                .to_owned()
        }
        // Rust aborts a program in this way if it cannot allocate memory.
        Some(libc::SIGABRT) if said.contains("memory allocation of ") => format!(
            "the process that tried it needed more than {} GiB of memory: what it reads, a file or \
             a directory, has no end",
            part::MOST_MEMORY >> 30
        ),
        _ => format!("the process that tried it {}", in_words(status)),
    }
}

/// Runs the operation of the part's order.
///
/// # Errors
/// If the order cannot be carried out. A failure of the operation itself is written into its
/// answer.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: ApartRequest = serde_json::from_str(order)?;
    let first = first_things().into_iter().map(|thing| thing.operation);
    let mut all = all_operations().into_iter().chain(first);
    let Some(operation) = all.find(|one| one.name == order.operation) else {
        fail!("no operation is called {}", order.operation);
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| operation.run(&order.mount)))
        .unwrap_or_else(|panic| Err(Failure::of_panic(&*panic)));
    let answer = ApartAnswer(outcome.err().map(Failed::from));
    std::fs::write(&order.answer, serde_json::to_vec(&answer)?).context(order.answer.display())
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed {
            message: failure.to_string(),
            errno: failure.errno().map(|errno| errno as i32),
            undecided: failure.is_undecided(),
        }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        let Failed { message, errno, undecided } = failed;
        let failure = if undecided { Failure::undecided(message) } else { Failure::new(message) };
        failure.with_errno(errno.map(Errno::from_raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_named() {
        let aborted = ExitStatus::from_raw(libc::SIGABRT);
        let said = why(aborted, "memory allocation of 1073741824 bytes failed");
        assert!(said.contains("more than 2 GiB of memory") && said.contains("no end"), "{said}");
        assert_eq!(why(aborted, ""), "the process that tried it was killed by SIGABRT");
    }
}
