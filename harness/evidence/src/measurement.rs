//! Raw samples of one contender against another.

use std::fmt;

use libm::log;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Clock;
use crate::noise::Noise;
use crate::stats::median;
use crate::strict;

/// Which side of a round ran first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// A, then B.
    AB,
    /// B, then A.
    BA,
}

/// One round: the same work on both sides, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Round {
    /// Which side ran first.
    pub order: Order,
    /// Nanoseconds of every operation on A.
    pub a_ns: Vec<u64>,
    /// Nanoseconds of every operation on B.
    pub b_ns: Vec<u64>,
    /// The controls, if the round decides something.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::not_null"
    )]
    #[schemars(with = "Controls")]
    pub controls: Option<Controls>,
    /// What else the machine did meanwhile, if the round decides something.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::not_null"
    )]
    #[schemars(with = "Noise")]
    pub noise: Option<Noise>,
}

/// The same work on two copies of A: one as fast as A (an A/A control) and one slowed down by a
/// known factor (a positive control). Also the new queries at the start of A's and B's turns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Controls {
    /// Nanoseconds of every operation on the copy of A, which is as fast as A.
    pub again_ns: Vec<u64>,
    /// Nanoseconds of every operation on the copy of A that is slowed down.
    pub slowed_ns: Vec<u64>,
    /// Nanoseconds of every query that A had never been asked before; missing for insertions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub a_unseen_ns: Vec<u64>,
    /// Nanoseconds of every query that B had not seen before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub b_unseen_ns: Vec<u64>,
}

impl Controls {
    /// ln(speed of A / speed of its copy), which is 0 apart from noise.
    pub fn log_equal(&self, a_ns: &[u64]) -> f64 {
        log(total(&self.again_ns) / total(a_ns))
    }

    /// ln(speed of the copy / speed of the slowed copy).
    pub fn log_slowed(&self) -> f64 {
        log(total(&self.slowed_ns) / total(&self.again_ns))
    }

    /// ln(time of the fastest unseen query / median time of the `others`). A side that caches
    /// answers is slow for all unseen queries; a side that was disturbed is not. `None` without
    /// queries.
    pub fn log_unseen(unseen: &[u64], others: &[u64]) -> Option<f64> {
        let times: Vec<f64> = others.iter().map(|&one| one as f64).collect();
        Some(log(*unseen.iter().min()? as f64 / median(&times)?))
    }
}

impl Round {
    /// ln(speed of A / speed of B), which for the same work is ln(time of B / time of A).
    pub fn log_ratio(&self) -> f64 {
        log(total(&self.b_ns) / total(&self.a_ns))
    }

    /// Operations per second of A and of B, for a round of `operations`.
    pub fn speeds(&self, operations: usize) -> (f64, f64) {
        let speed = |times: &[u64]| operations as f64 * 1e9 / total(times);
        (speed(&self.a_ns), speed(&self.b_ns))
    }
}

fn total(nanoseconds: &[u64]) -> f64 {
    nanoseconds.iter().map(|&one| one as f64).sum()
}

impl Measurement {
    /// The rounds that count: all but each pass's warm-ups.
    pub fn counted(&self) -> impl Iterator<Item = &Round> {
        self.passes.iter().flat_map(|pass| pass.get(self.warmups..).unwrap_or_default())
    }
}

/// One side of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Side {
    /// The contender's name.
    pub contender: String,
    /// Recall@k of its answers, if it answered queries.
    #[schemars(range(min = strict::NONE, max = strict::ALL))]
    #[serde(deserialize_with = "strict::share")]
    pub recall: Option<f64>,
    /// What it reports: versions, the configuration it read back, counters.
    pub description: Value,
}

/// Raw samples of A and B, and the rule that judges them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// The trial that measured.
    pub trial: String,
    /// The pre-registered rule that applies (see `harness/evidence/src/thresholds.rs`).
    pub rule: String,
    /// Copy of the rule's threshold: speed of A / speed of B.
    pub threshold: f64,
    /// Whether the lower bound must lie above the threshold, copied from the rule.
    pub strictly: bool,
    /// Whether the rule decides here, copied from the rule.
    pub decides: bool,
    /// What its nanoseconds count.
    pub clock: Clock,
    /// Rows or queries in one round.
    pub operations_per_round: usize,
    /// Rounds at the start of each pass that do not count.
    pub warmups: usize,
    /// How much slower the slowed copy of A is, as a fraction; 0 if it was not recorded.
    #[serde(default)]
    pub slowed_by: f64,
    /// The numerator.
    pub a: Side,
    /// The denominator.
    pub b: Side,
    /// One or more passes of the protocol: all their rounds, warm-ups first.
    pub passes: Vec<Vec<Round>>,
    /// Disturbed rounds, which were repeated. They are kept but do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbed: Vec<Round>,
    /// The look that was left out because the trial's time was too short for it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::not_null"
    )]
    #[schemars(with = "CutShort")]
    pub cut_short: Option<CutShort>,
}

/// A look that did not fit into a trial's time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CutShort {
    /// Rounds it needs, over all passes.
    pub rounds: usize,
    /// Seconds that the missing passes would have taken, judging by those that were done.
    pub seconds: f64,
    /// Seconds that were left.
    pub left: f64,
}

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CutShort { rounds, seconds, left } = self;
        write!(
            f,
            "the look after {rounds} rounds was not begun: it takes {seconds:.0} s more, and {left:.0} s \
             are left of the trial's time"
        )
    }
}
