//! What a measured time counts.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::StrDeserializer;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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

/// Reads the clock from the record of a guest's launch. Records of version 1 have
/// `instruction_clock: true` or `false` instead.
pub(crate) fn of_launch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Clock, D::Error> {
    struct NameOrFlag;
    impl Visitor<'_> for NameOrFlag {
        type Value = Clock;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`wall` or `instructions`, or in version 1 true or false")
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<Clock, E> {
            Clock::deserialize(StrDeserializer::new(name))
        }

        fn visit_bool<E: Error>(self, counts_instructions: bool) -> Result<Clock, E> {
            Ok(if counts_instructions { Clock::Instructions } else { Clock::Wall })
        }
    }
    deserializer.deserialize_any(NameOrFlag)
}
