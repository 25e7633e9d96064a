//! The measuring protocol: one constant that every driver is given and the evidence repeats.

use serde::{Deserialize, Serialize};

use crate::measurement::Order;

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
    /// Seed of numpy's legacy generator (see the harness's `dataset`).
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
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Euclidean; distances are reported squared.
    L2,
    /// Inner product: the largest is the nearest.
    InnerProduct,
    /// Angle.
    Cosine,
}

impl Protocol {
    /// Warm-ups and measured rounds together.
    pub const fn rounds(&self) -> usize {
        self.warmups + self.runs
    }
}

/// Queries of a round where the CPU is emulated, which answers some tens of them a second, and the
/// protocol is not what counts.
const EMULATED_QUERIES: usize = 25;

/// The protocol with fewer queries, its first.
pub fn of_first_queries() -> Protocol {
    Protocol { queries: EMULATED_QUERIES, ..PROTOCOL }
}

/// The orders of a controlled round, one round after the other and then again: a Latin square
/// that is balanced for the predecessor, too (E. J. Williams, "Experimental designs balanced for
/// the estimation of residual effects of treatments", 1949). Each side has each place once, and
/// each other side before it once, for a side finds the processor's caches as the one before it
/// left them. What drifts evenly cancels out between any two sides.
pub const ORDERS: [[Arm; 4]; 4] = {
    use Arm::{A, Again, B, Slowed};
    [[A, B, Slowed, Again], [B, Again, A, Slowed], [Again, Slowed, B, A], [Slowed, A, Again, B]]
};

/// Which of A and B comes first in round `index` of a pass of controlled rounds.
pub fn controlled_order_of(index: usize) -> Order {
    let order = &ORDERS[index % ORDERS.len()];
    let first = order.iter().find(|arm| matches!(arm, Arm::A | Arm::B));
    if first == Some(&Arm::A) { Order::AB } else { Order::BA }
}

/// How often the rounds of a pass may be done again in all: a machine that is always busy still
/// comes to an end, and its noise is in the evidence.
pub const REPEATS: usize = 5;

/// A side of a controlled round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// What is measured.
    A,
    /// What it is held against.
    B,
    /// A copy of A.
    Again,
    /// A copy of A, slower by a known part.
    Slowed,
}

impl Arm {
    /// All of them, in the order of their numbers.
    pub const ALL: [Arm; 4] = [Arm::A, Arm::B, Arm::Again, Arm::Slowed];
}

/// By how much each operation of the slowed copy takes longer.
pub const SLOWED_BY: f64 = 0.05;

/// Queries that open a side's turn and that it has not been asked before: what answers from
/// memory does not know them. They also bring its data back into the processor's caches, and
/// their times are not those of the round.
pub const UNSEEN_A_TURN: usize = 4;

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

    #[test]
    fn orders_are_balanced() {
        let mut pairs = std::collections::BTreeMap::new();
        for order in &ORDERS {
            for pair in order.windows(2) {
                *pairs.entry((pair[0] as u8, pair[1] as u8)).or_insert(0) += 1;
            }
        }
        assert_eq!(pairs.len(), 12, "{pairs:?}");
        assert!(pairs.values().all(|&count| count == 1), "{pairs:?}");
        let place = |order: &[Arm; 4], arm| order.iter().position(|&one| one == arm).unwrap();
        for one in Arm::ALL {
            let mut places = ORDERS.map(|order| place(&order, one));
            places.sort_unstable();
            assert_eq!(places, [0, 1, 2, 3], "{one:?}");
            for other in Arm::ALL {
                // As often as much earlier as later: even drift is neither side's.
                let mut apart =
                    ORDERS.map(|order| place(&order, one) as i32 - place(&order, other) as i32);
                apart.sort_unstable();
                assert_eq!(apart, [-apart[3], -apart[2], -apart[1], -apart[0]]);
            }
        }
        for (index, order) in ORDERS.iter().enumerate() {
            assert_ne!(order[3], ORDERS[(index + 1) % 4][0], "a side follows itself");
        }
    }
}
