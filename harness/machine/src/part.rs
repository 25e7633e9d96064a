//! Runs a part of a trial in a process of its own: this program starts itself again, with an
//! environment variable that names the part.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::resource::{Resource, rlim_t, setrlimit};
use serde::Serialize;

use crate::failure::{Failure, WithContext};

/// Variable that names the part.
const VARIABLE: &str = "VEXFS_VALIDATION_PART";
/// Variable that holds what the part is to do, as JSON.
const ORDER: &str = "VEXFS_VALIDATION_PART_ORDER";

/// Bytes of memory of its own that a part may have: none needs a tenth. A file or a directory that has
/// no end would take all that there is. Mappings of files, which are what is tried, do not count.
pub const MOST_MEMORY: rlim_t = 2 << 30;

/// The function of a part; its argument is the order, as JSON.
pub type Part = fn(&str) -> Result<(), Failure>;

/// A command that does part `name`, with `order`; it is refused more than [`MOST_MEMORY`].
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

/// If this process was started for one of `parts`, does it and exits.
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

    /// What reads without end is ended by itself, and not by a machine that has no memory left.
    #[test]
    fn memory_has_an_end() {
        let mut endless = Command::new("tail");
        with_memory(endless.arg("/dev/zero"), 64 << 20);
        let ended = Running::start(&mut endless).unwrap().finish(Duration::from_secs(60)).unwrap();
        assert!(!ended.status.success() && ended.output.contains("memory"), "{}", ended.output);
    }
}
