//! The measuring protocol: one constant, sent to every driver and repeated in the evidence.

use serde::{Deserialize, Serialize};

use crate::measurement::Order;

/// The protocol of the published comparison, used for every ratio here.
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

// Warm-up and measured rounds together insert every row exactly once, in equal batches.
const _: () = assert!(
    PROTOCOL.rows == PROTOCOL.rounds() * PROTOCOL.insertion_batch,
    "warm-ups and runs must insert exactly the protocol's rows"
);

/// What is measured, on which data and how often.
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

/// Queries in a round on an emulated CPU, where no competitor is measured. Such a CPU answers only
/// a few dozen queries a second.
const EMULATED_QUERIES: usize = 25;

/// The protocol with only the first `EMULATED_QUERIES` of its queries.
pub fn of_first_queries() -> Protocol {
    Protocol { queries: EMULATED_QUERIES, ..PROTOCOL }
}

/// The orders in which the four sides of a round run, used in turn: a Williams design, a Latin
/// square balanced for first-order carry-over (E. J. Williams, "Experimental designs balanced for
/// the estimation of residual effects of treatments", 1949). Each side runs once in each position
/// and once after each other side, because a side inherits the processor's caches from the one
/// before it. Linear drift cancels out between any two sides.
pub const ORDERS: [[Arm; 4]; 4] = {
    use Arm::{A, Again, B, Slowed};
    [[A, B, Slowed, Again], [B, Again, A, Slowed], [Again, Slowed, B, A], [Slowed, A, Again, B]]
};

/// Which of A and B runs first in round `index` of a pass.
pub fn controlled_order_of(index: usize) -> Order {
    let order = &ORDERS[index % ORDERS.len()];
    let first = order.iter().find(|arm| matches!(arm, Arm::A | Arm::B));
    if first == Some(&Arm::A) { Order::AB } else { Order::BA }
}

/// How many rounds of a pass may be repeated because they were disturbed. The limit lets a
/// measurement end on a machine that is always busy; its noise is in the evidence.
pub const REPEATS: usize = 5;

/// A side of a controlled round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// The treatment: what is measured.
    A,
    /// What A is compared with.
    B,
    /// The A/A control: a copy of A.
    Again,
    /// The positive control: a copy of A, slowed down by [`SLOWED_BY`].
    Slowed,
}

impl Arm {
    /// All of them, in the order of the numbers in [`ORDERS`].
    pub const ALL: [Arm; 4] = [Arm::A, Arm::B, Arm::Again, Arm::Slowed];
}

/// How much longer each operation of the slowed copy takes, as a fraction.
pub const SLOWED_BY: f64 = 0.05;

/// How many new queries each turn starts with. A side that caches answers cannot know them. They
/// also bring its data back into the processor's caches; their times do not count towards the
/// round.
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
                // Each distance occurs as often before as after, so linear drift favours neither
                // side.
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
