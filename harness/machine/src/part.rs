//! Runs a part of a trial in a process of its own: this program starts itself again, with an
//! environment variable that names the part.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::resource::{Resource, rlim_t, setrlimit};
use serde::Serialize;

use crate::failure::{Failure, WithContext};

/// Variable that names the part.
const VARIABLE: &str = "VEXFS_VALIDATION_PART";
/// Variable that holds the part's order, as JSON.
const ORDER: &str = "VEXFS_VALIDATION_PART_ORDER";

/// How many bytes of memory of its own a part may have; no part needs a tenth of that. A file or a
/// directory without an end would otherwise exhaust the machine's memory. Mappings of files, which
/// the parts test, do not count.
pub const MOST_MEMORY: rlim_t = 2 << 30;

/// The function of a part; its argument is the order, as JSON.
pub type Part = fn(&str) -> Result<(), Failure>;

/// A command that runs part `name` with `order`; it may not have more than [`MOST_MEMORY`].
pub fn command(name: &str, order: &impl Serialize) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe().context("this program's path")?);
    command.env(VARIABLE, name).env(ORDER, serde_json::to_string(order)?);
    with_memory(&mut command, MOST_MEMORY);
    Ok(command)
}

fn with_memory(command: &mut Command, bytes: rlim_t) {
    // SAFETY: between fork and exec only setrlimit(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?));
    }
}

/// If this process was started for one of `parts`, runs that part and returns its exit code.
pub fn main(parts: &[(&str, Part)]) -> Option<ExitCode> {
    let name = std::env::var(VARIABLE).ok()?;
    let Some((_, part)) = parts.iter().find(|(known, _)| *known == name) else {
        eprintln!("error: {VARIABLE}={name}: there is no such part");
        return Some(evidence::exit::USAGE.into());
    };
    let order = std::env::var(ORDER).unwrap_or_default();
    Some(match part(&order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("found: {failure}");
            ExitCode::FAILURE
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::child::Running;

    /// A program that reads without end is stopped by its own limit, before the machine runs out of
    /// memory.
    #[test]
    fn memory_has_an_end() {
        let mut endless = Command::new("tail");
        with_memory(endless.arg("/dev/zero"), 64 << 20);
        let ended = Running::start(&mut endless).unwrap().finish(Duration::from_secs(60)).unwrap();
        assert!(!ended.status.success() && ended.output.contains("memory"), "{}", ended.output);
    }
}
