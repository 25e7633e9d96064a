//! Both homes under file-system tests by others, under load, with requests that no normal program
//! would make, and with failures.
//!
//! The numbers are those of the default lanes. `VEXFS_VALIDATION_TORTURE=N` does N times as many
//! operations with the same seeds. Every trial records in the evidence what it did.

pub mod fio;
pub mod fsx;
pub mod fuzz;
mod lacking;
pub mod pjdfstest;
pub mod stress_ng;

pub use lacking::punches_no_holes;

use std::path::PathBuf;
use std::process::Command;

use machine::failure::Failure;
use machine::{fail, programs};

/// How many times the work of the default lanes is done.
///
/// # Errors
/// If `VEXFS_VALIDATION_TORTURE` is not a positive number.
pub fn scale() -> Result<u32, Failure> {
    match std::env::var("VEXFS_VALIDATION_TORTURE") {
        Err(_) => Ok(1),
        Ok(text) => match text.parse() {
            Ok(scale) if scale > 0 => Ok(scale),
            _ => fail!("VEXFS_VALIDATION_TORTURE is {text:?}; it must be an integer above 0"),
        },
    }
}

/// A program that the set-up installs.
fn program(name: &str) -> Result<Command, Failure> {
    let Some(path): Option<PathBuf> = programs::on_path(name) else {
        fail!("there is no program {name}; provide it with: make setup")
    };
    Ok(Command::new(path))
}
