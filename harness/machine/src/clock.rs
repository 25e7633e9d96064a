//! What the times of this place count.

use evidence::clock::Clock;
use evidence::guest::GuestLaunch;

use crate::failure::{Failure, While};
use crate::place;

/// The clock of this place: a guest is told by its launcher.
pub fn here() -> Result<Clock, Failure> {
    let Some(evidence) = &place::here().evidence_dir else { return Ok(Clock::Wall) };
    Ok(GuestLaunch::read(evidence).when("what the guest's time counts")?.clock)
}
