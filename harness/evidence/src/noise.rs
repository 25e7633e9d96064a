//! What else the machine did during a round, and how much of it makes the round disturbed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::strict;

/// A round is disturbed if some task waited for a processor for more than this share of it.
pub const WAITING_BOUND: f64 = 0.25;
/// A round is disturbed if the hypervisor took more than this share of the machine's time.
pub const STOLEN_BOUND: f64 = 0.05;

/// What disturbed a round. `None` means that this kernel does not report the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Noise {
    /// Duration of the round in microseconds.
    pub wall_us: u64,
    /// Time in which some runnable task waited for a processor (`/proc/pressure/cpu`, `some`).
    #[serde(deserialize_with = "strict::told")]
    pub waiting_us: Option<u64>,
    /// Time of all processors that the hypervisor gave to others (`/proc/stat`, `steal`), with a
    /// resolution of 10 ms.
    #[serde(deserialize_with = "strict::told")]
    pub stolen_us: Option<u64>,
}

impl Noise {
    /// Whether it exceeds [`WAITING_BOUND`] or [`STOLEN_BOUND`]; `None` if the kernel does not
    /// report enough.
    pub fn is_beyond_bounds(&self) -> Option<bool> {
        let wall = self.wall_us.max(1) as f64;
        let beyond = |part: Option<u64>, bound: f64| part.map(|part| part as f64 / wall > bound);
        match (beyond(self.waiting_us, WAITING_BOUND), beyond(self.stolen_us, STOLEN_BOUND)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::quiet(Some(240_000), Some(40_000), Some(false))]
    #[case::waited(Some(260_000), Some(0), Some(true))]
    #[case::stolen(Some(0), Some(60_000), Some(true))]
    #[case::stolen_without_pressure(None, Some(60_000), Some(true))]
    #[case::no_pressure(None, Some(0), None)]
    #[case::not_told(None, None, None)]
    fn bounds(
        #[case] waiting_us: Option<u64>,
        #[case] stolen_us: Option<u64>,
        #[case] beyond: Option<bool>,
    ) {
        let noise = Noise { wall_us: 1_000_000, waiting_us, stolen_us };
        assert_eq!(noise.is_beyond_bounds(), beyond);
    }
}
