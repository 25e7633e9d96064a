//! The parts of trials that are processes of their own.

use std::process::ExitCode;

use homes::filesystem::{apart, stores};

use crate::adversary;
use crate::criteria::faults::{memory, msync};
use crate::part::{self, Part};

/// All parts, by name.
const PARTS: &[(&str, Part)] = &[
    (adversary::PART, adversary::play),
    (apart::PART, apart::play),
    (stores::PART, stores::play),
    (msync::PART, msync::play),
    (memory::PART, memory::play),
];

/// Does the part that this process was started for, if it was started for one.
#[must_use]
pub fn main() -> Option<ExitCode> {
    part::main(PARTS)
}
