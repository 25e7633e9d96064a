//! What times count.

use serde::{Deserialize, Serialize};

/// What a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Time as it passes.
    Wall,
    /// A count of the guest's instructions, 2 ns each.
    Instructions,
}

/// How closely two runs agree on the instruction clock, as a part: interrupts, and where in memory
/// things lie, are not quite the same each time. Shown by `make clock`.
pub const REPRODUCIBLE_TO: f64 = 0.005;

impl Clock {
    /// What it is called in front of a person.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Clock::Wall => "wall time",
            Clock::Instructions => "guest instructions",
        }
    }
}
