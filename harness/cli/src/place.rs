//! `vexfs-validate place`

use std::process::ExitCode;

use machine::place;

use super::output::outln;
use super::stop::Stop;

pub(super) fn run() -> Result<ExitCode, Stop> {
    let here = place::here();
    outln!("{}: {}", here.place, here.reason);
    for mark in &here.marks {
        outln!("  {:<42} {}", mark.source, mark.found);
    }
    Ok(ExitCode::SUCCESS)
}
