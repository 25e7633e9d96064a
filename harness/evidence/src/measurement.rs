//! Raw samples of one contender against another.

use std::fmt;

use libm::log;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Clock;
use crate::noise::Noise;
use crate::stats::median;

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
    /// Who was first.
    pub order: Order,
    /// Nanoseconds of every operation on A.
    pub a_ns: Vec<u64>,
    /// Nanoseconds of every operation on B.
    pub b_ns: Vec<u64>,
    /// The controls, where the round decides something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Controls")]
    pub controls: Option<Controls>,
    /// What else the machine did during it, where it decides something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Noise")]
    pub noise: Option<Noise>,
}

/// The same work once more, on two copies of A: what is known of them must be found. And the
/// queries that opened the turns of A and B, which neither had been asked before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Controls {
    /// Nanoseconds of every operation on a copy of A, which is as fast as A.
    pub again_ns: Vec<u64>,
    /// Nanoseconds of every operation on a copy of A that is slower by a known part.
    pub slowed_ns: Vec<u64>,
    /// Nanoseconds of every unseen query of A; none where it was not queries that were timed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub a_unseen_ns: Vec<u64>,
    /// Nanoseconds of every unseen query of B.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub b_unseen_ns: Vec<u64>,
}

impl Controls {
    /// ln of the speed of A over its copy's: 0, but for noise.
    pub fn log_equal(&self, a_ns: &[u64]) -> f64 {
        log(total(&self.again_ns) / total(a_ns))
    }

    /// ln of the copy's speed over the slowed copy's, which ran beside it.
    pub fn log_slowed(&self) -> f64 {
        log(total(&self.slowed_ns) / total(&self.again_ns))
    }

    /// ln of the fastest unseen query's time over the median of the `others`: what answers from
    /// memory is slow for each of the unseen, what is disturbed is not. `None` without queries.
    pub fn log_unseen(unseen: &[u64], others: &[u64]) -> Option<f64> {
        let times: Vec<f64> = others.iter().map(|&one| one as f64).collect();
        Some(log(*unseen.iter().min()? as f64 / median(&times)?))
    }
}

impl Round {
    /// ln of speed A over speed B: the same work, so the times the other way round.
    pub fn log_ratio(&self) -> f64 {
        log(total(&self.b_ns) / total(&self.a_ns))
    }

    /// Operations a second of A and of B, where a round is `operations` of them.
    pub fn speeds(&self, operations: usize) -> (f64, f64) {
        let speed = |times: &[u64]| operations as f64 * 1e9 / total(times);
        (speed(&self.a_ns), speed(&self.b_ns))
    }
}

fn total(nanoseconds: &[u64]) -> f64 {
    nanoseconds.iter().map(|&one| one as f64).sum()
}

impl Measurement {
    /// The rounds that count: those behind each pass's warm-ups.
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
    /// Recall@k of its answers, where answers were given.
    #[schemars(range(min = 0, max = 1))]
    pub recall: Option<f64>,
    /// What it says of itself: versions, configuration read back, counters.
    pub description: Value,
}

/// Raw samples of A against B, and the rule that they are judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// The trial that measured.
    pub trial: String,
    /// Which pre-registered rule applies (see [`crate::thresholds`]).
    pub rule: String,
    /// The rule's threshold, repeated: speed of A over speed of B.
    pub threshold: f64,
    /// Whether the lower bound must lie above the threshold, repeated.
    pub strictly: bool,
    /// Whether the rule decides here, repeated.
    pub decides: bool,
    /// What its nanoseconds count.
    pub clock: Clock,
    /// Rows or queries in one round.
    pub operations_per_round: usize,
    /// Leading rounds of each pass that warm up and do not count.
    pub warmups: usize,
    /// The part by which the slowed copy of A is slower, repeated; 0 where it was not written down.
    #[serde(default)]
    pub slowed_by: f64,
    /// The contender whose speed is over the line.
    pub a: Side,
    /// The contender whose speed is under it.
    pub b: Side,
    /// The protocol, once or more often: all rounds of each pass, its warm-ups first.
    pub passes: Vec<Vec<Round>>,
    /// Rounds that were disturbed beyond the bounds of [`crate::noise`] and done again: they do
    /// not count, and are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbed: Vec<Round>,
    /// The look that was not begun, where the trial's time would not have been enough for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CutShort")]
    pub cut_short: Option<CutShort>,
}

/// A look that does not fit into a trial's time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CutShort {
    /// Rounds that it asks for, all passes together.
    pub rounds: usize,
    /// Seconds that the passes it lacks would have taken, after those that were done.
    pub seconds: f64,
    /// Seconds that were left for them.
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
