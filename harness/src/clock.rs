//! What the times of a place count.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, While};
use crate::place;
use crate::vm::GuestLaunch;

/// What a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Time as it passes.
    Wall,
    /// A count of the guest's instructions, 2 ns each.
    Instructions,
}

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

/// How closely two runs agree on the instruction clock, as a part: interrupts, and where in memory
/// things lie, are not quite the same each time. Shown by `make clock`.
pub const REPRODUCIBLE_TO: f64 = 0.005;

impl Clock {
    /// The clock of this place: a guest is told by its launcher.
    ///
    /// # Errors
    /// The launcher's word cannot be read.
    pub fn here() -> Result<Clock, Failure> {
        let Some(evidence) = &place::here().evidence_dir else { return Ok(Clock::Wall) };
        let launch = GuestLaunch::read(evidence).when("what the guest's time counts")?;
        Ok(if launch.instruction_clock { Clock::Instructions } else { Clock::Wall })
    }

    /// What it is called in front of a person.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Clock::Wall => "wall time",
            Clock::Instructions => "guest instructions",
        }
    }
}
