//! Parts of a trial that are processes of their own: this program again, which a variable tells what
//! it is.

use std::process::{Command, ExitCode};

use serde::Serialize;

use crate::failure::{Failure, While};

/// Variable that names the part.
const VARIABLE: &str = "VEXFS_VALIDATION_PART";
/// Variable that holds what the part is to do, as JSON.
const ORDER: &str = "VEXFS_VALIDATION_PART_ORDER";

/// What a part does with its order.
pub type Part = fn(&str) -> Result<(), Failure>;

/// A command that does part `name`, with `order`.
pub fn command(name: &str, order: &impl Serialize) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe().when("this program's path")?);
    command.env(VARIABLE, name).env(ORDER, serde_json::to_string(order)?);
    Ok(command)
}

/// Does the part that this process was started for, if it was started for one, which is one of
/// `parts`, by name.
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
