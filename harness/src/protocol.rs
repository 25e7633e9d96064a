//! The measuring protocol: one constant that every driver is given and the evidence repeats.

use serde::{Deserialize, Serialize};

/// The protocol of the field's comparison, and of every ratio here.
pub const PROTOCOL: Protocol = Protocol {
    rows: 10_000,
    dim: 128,
    seed: 42,
    queries: 100,
    k: 10,
    metric: Metric::L2,
    runs: 20,
    warmups: 5,
    insertion_batch: 400,
};

// The rows are inserted once, as warm-ups and measured rounds of equal batches.
const _: () = assert!(
    PROTOCOL.rows == PROTOCOL.rounds() * PROTOCOL.insertion_batch,
    "warm-ups and runs must insert exactly the protocol's rows"
);

/// What is measured, on what and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Rows of the base.
    pub rows: usize,
    /// Components of a row, f32.
    pub dim: usize,
    /// Seed of numpy's legacy generator (see [`crate::dataset`]).
    pub seed: u32,
    /// Queries in a search round.
    pub queries: usize,
    /// Neighbours asked for.
    pub k: usize,
    /// Distance.
    pub metric: Metric,
    /// Measured rounds.
    pub runs: usize,
    /// Rounds before them that do not count.
    pub warmups: usize,
    /// Rows in an insertion round: round `i` inserts rows `i * insertion_batch ..`, so that
    /// warm-ups and runs together insert the base exactly once.
    pub insertion_batch: usize,
}

/// A distance, as drivers name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Euclidean; distances are reported squared.
    L2,
}

impl Protocol {
    /// Warm-ups and measured rounds together.
    #[must_use]
    pub const fn rounds(&self) -> usize {
        self.warmups + self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_see_these_words() {
        assert_eq!(
            serde_json::to_value(PROTOCOL).unwrap(),
            serde_json::json!({
                "rows": 10_000, "dim": 128, "seed": 42, "queries": 100, "k": 10, "metric": "l2",
                "runs": 20, "warmups": 5, "insertion_batch": 400,
            })
        );
    }
}
