//! Where a process of a criterion begins: as the criterion, or as a part of one of its trials.

use std::process::ExitCode;

use homes::filesystem::{apart, stores};
use machine::part::{self, Part};

use crate::adversary;
use crate::faults::{ended_daemon, memory, msync, truncate};
use crate::trial::{self, Trial};

/// All parts, by name.
const PARTS: &[(&str, Part)] = &[
    (adversary::PART, adversary::play),
    (apart::PART, apart::play),
    (stores::PART, stores::play),
    (msync::PART, msync::play),
    (ended_daemon::PART, ended_daemon::play),
    (memory::PART, memory::play),
    (truncate::PART, truncate::play),
];

/// The `main` of a criterion: does the part that this process was started for, if it was started
/// for one, and else runs or lists `trials` as the command line asks.
#[must_use]
pub fn main(trials: Vec<Trial>) -> ExitCode {
    part::main(PARTS).unwrap_or_else(|| trial::main(trials))
}
