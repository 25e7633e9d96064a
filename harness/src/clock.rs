//! What the times of this place count.

use clap::ValueEnum;
use evidence::clock::Clock;
use evidence::guest::GuestLaunch;

use crate::failure::{Failure, While};
use crate::place;

/// What the time of a guest is to count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ClockChoice {
    /// Time as it passes
    #[default]
    Wall,
    /// A count of the guest's instructions, 2 ns each: the same on a busy machine, on one emulated
    /// CPU
    Instructions,
    /// Whichever decides on the kernel against FUSE: instructions, but wall time on KVM
    Deciding,
}

/// The clock of this place: a guest is told by its launcher.
///
/// # Errors
/// The launcher's word cannot be read.
pub fn here() -> Result<Clock, Failure> {
    let Some(evidence) = &place::here().evidence_dir else { return Ok(Clock::Wall) };
    let launch = GuestLaunch::read(evidence).when("what the guest's time counts")?;
    Ok(if launch.instruction_clock { Clock::Instructions } else { Clock::Wall })
}
