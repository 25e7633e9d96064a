//! The clock of this place: wall time, or the count of the guest's instructions.

use evidence::clock::Clock;
use evidence::guest::GuestLaunch;

use crate::failure::{Failure, WithContext};
use crate::place;

/// The clock of this place. In a guest, the launcher has recorded it.
pub fn here() -> Result<Clock, Failure> {
    let Some(evidence) = &place::here().evidence_dir else { return Ok(Clock::Wall) };
    Ok(GuestLaunch::read(evidence).context("what the guest's time counts")?.clock)
}
