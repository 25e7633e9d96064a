//! Parts of a trial that run in a process of their own: this program again, with a variable that says
//! which part to do.

use std::process::{Command, ExitCode};

use serde::Serialize;

use crate::failure::{Failure, While};

/// Variable that names the part.
const VARIABLE: &str = "VEXFS_VALIDATION_PART";
/// Variable that holds what the part is to do, as JSON.
const ORDER: &str = "VEXFS_VALIDATION_PART_ORDER";

/// The function of a part; its argument is the order, as JSON.
pub type Part = fn(&str) -> Result<(), Failure>;

/// A command that does part `name`, with `order`.
pub fn command(name: &str, order: &impl Serialize) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe().when("this program's path")?);
    command.env(VARIABLE, name).env(ORDER, serde_json::to_string(order)?);
    Ok(command)
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
