//! What a measured time counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a measured time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Elapsed time.
    Wall,
    /// The guest's instructions, counted as 2 ns each.
    Instructions,
}

/// How closely two runs agree on the instruction clock, as a fraction. Interrupts and the placement
/// of data in memory differ a little from run to run. `make clock` checks it.
pub const REPRODUCIBLE_TO: f64 = 0.005;

impl Clock {
    /// Human-readable name.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Wall => "wall time",
            Clock::Instructions => "guest instructions",
        }
    }
}
