//! The entry point of a criterion's process: it runs the criterion, or plays a part of one of its
//! trials.

use std::process::ExitCode;

use homes::filesystem::{apart, stores};
use machine::part::{self, Part};

use crate::adversary;
use crate::beside_a_build;
use crate::containment;
use crate::faults::{ended_daemon, memory, msync, truncate};
use crate::killed_changes;
use crate::mount_command;
use crate::throttled;
use crate::trial::{self, Trial};

/// All parts, by name.
const PARTS: &[(&str, Part)] = &[
    (adversary::PART, adversary::play),
    (apart::PART, apart::play),
    (beside_a_build::PART, beside_a_build::play),
    (containment::PART, containment::play),
    (stores::PART, stores::play),
    (msync::PART, msync::play),
    (ended_daemon::PART, ended_daemon::play),
    (killed_changes::PART, killed_changes::play),
    (memory::PART, memory::play),
    (mount_command::PART, mount_command::play),
    (throttled::PART, throttled::play),
    (truncate::PART, truncate::play),
];

/// The `main` of a criterion. If this process was started to play a part, or to run one of `trials`
/// for another process, it does that; otherwise it runs or lists `trials` as the command line asks.
#[must_use]
pub fn main(trials: Vec<Trial>) -> ExitCode {
    if part::is(trial::PART) {
        return part::play(|order| trial::play(&trials, order));
    }
    part::main(PARTS).unwrap_or_else(|| trial::main(trials))
}
