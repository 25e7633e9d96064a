//! `vexfs-validate place`

use std::process::ExitCode;

use super::Stop;
use crate::place;

pub(super) fn run() -> Result<ExitCode, Stop> {
    let here = place::here();
    println!("{}: {}", here.place, here.reason);
    for mark in &here.marks {
        println!("  {:<42} {}", mark.source, mark.found);
    }
    Ok(ExitCode::SUCCESS)
}
