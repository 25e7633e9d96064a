//! One line of the result, as in `target/bench/engine.json`.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use evidence::stats::{self, Outcome, Ratio};

/// A measured comparison. Speeds are queries a second, or rows a second for a build, as medians
/// over rounds. Times are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Index kind: Flat, HNSW, IVF, PQ or LSH.
    pub kind: String,
    /// The operation.
    pub operation: PeerOperation,
    /// The name of the data.
    pub data: String,
    /// The parameters with which ours was built and searched.
    pub options: Value,
    /// Our recall@k, against the exact answers in f64.
    pub recall: f64,
    /// Our speed.
    pub qps: f64,
    /// The library that ours is compared with.
    pub peer: String,
    /// Its version.
    pub peer_version: String,
    /// The parameters with which it was built and searched.
    pub peer_options: Value,
    /// Its recall@k.
    pub peer_recall: f64,
    /// Its speed.
    pub peer_qps: f64,
    /// Our speed over its: exp of the median over rounds of ln(qps/peer_qps).
    pub ratio: f64,
    /// Lower bound of the ratio; `None` if there were too few rounds.
    pub lower: Option<f64>,
    /// Upper bound of the ratio.
    pub upper: Option<f64>,
    /// The ratio as if calling the peer cost nothing: `call_overhead_ns` is subtracted for each
    /// query.
    pub net_ratio: f64,
    /// Lower bound of the net ratio.
    pub net_lower: Option<f64>,
    /// The ratio that ours should reach.
    pub goal: f64,
    /// Whether ours reached it, by the bounds of the net ratio, which favours the peer.
    pub result: Reached,
    /// How long a call of the peer's function takes by itself, measured on an index with as few
    /// rows as possible.
    pub call_overhead_ns: f64,
    /// Searches a second that are possible if a search only reads the same bytes.
    pub bound_qps: Option<f64>,
    /// How many bytes a search must read.
    pub bound_bytes: Option<usize>,
    /// Which bytes these are, in words.
    pub bound_of: Option<String>,
    /// Rounds measured, after warm-ups.
    pub rounds: usize,
    /// The instruction set that ours used.
    pub simd: String,
    /// Model name of the processor.
    pub cpu: String,
    /// What the peer reports about itself.
    pub peer_description: Value,
    /// Every round: our time, the peer's, and the bound's, each for all queries of the round.
    pub samples: Vec<Sample>,
}

/// The operation that was timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PeerOperation {
    /// One query a call.
    Search,
    /// All rows into an empty index, training included, one thread.
    Build,
}

/// Times of one round, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Our time.
    pub ours: u64,
    /// The peer's time.
    pub peer: u64,
    /// The time of the pass that only reads; 0 if there was none.
    pub bound: u64,
}

/// Whether a goal was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reached {
    /// The lower bound is not below the goal.
    #[serde(rename = "reached")]
    Yes,
    /// The upper bound is below the goal.
    #[serde(rename = "not reached")]
    No,
    /// The goal lies between the bounds, or there are none.
    #[serde(rename = "undecided")]
    Undecided,
    /// Speed at a lower recall wins nothing.
    #[serde(rename = "recall below peer's")]
    RecallBelow,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reached::Yes => "reached",
            Reached::No => "not reached",
            Reached::Undecided => "undecided",
            Reached::RecallBelow => "recall below peer's",
        })
    }
}

/// A ratio over rounds, without bounds if there are too few rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// exp of the median of the logarithms.
    pub ratio: f64,
    /// Its bounds, if there are any.
    pub bounds: Option<Ratio>,
}

impl Estimate {
    /// Our speed over the peer's, with `overhead` nanoseconds subtracted from each of the peer's
    /// rounds.
    pub fn of(samples: &[Sample], overhead: f64) -> Self {
        let logs: Vec<f64> = samples
            .iter()
            .map(|sample| ((sample.peer as f64 - overhead).max(1.0) / sample.ours as f64).ln())
            .collect();
        let bounds = Ratio::of_rounds(&logs);
        Estimate { ratio: stats::median(&logs).unwrap_or(f64::NAN).exp(), bounds }
    }

    /// What it says about `goal`, given these recalls.
    pub fn reaches(&self, goal: f64, recall: f64, peer_recall: f64) -> Reached {
        if recall < peer_recall {
            return Reached::RecallBelow;
        }
        match self.bounds.map(|bounds| bounds.outcome(goal)) {
            Some(Outcome::Pass) => Reached::Yes,
            Some(Outcome::Fail) => Reached::No,
            Some(Outcome::Inconclusive) | None => Reached::Undecided,
        }
    }
}

/// Operations a second: the median over rounds, each of which has this many `operations`.
pub fn speed(nanoseconds: impl Iterator<Item = u64>, operations: usize) -> f64 {
    let speeds: Vec<f64> = nanoseconds.map(|ns| operations as f64 * 1e9 / ns as f64).collect();
    stats::median(&speeds).unwrap_or(f64::NAN)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub fn row() -> Row {
        let samples = vec![Sample { ours: 1_000, peer: 2_000, bound: 500 }; 20];
        let estimate = Estimate::of(&samples, 0.0);
        Row {
            kind: "HNSW".into(),
            operation: PeerOperation::Search,
            data: "protocol".into(),
            options: json!({"m": 16, "ef_construction": 200, "ef": 240}),
            recall: 0.973,
            qps: 9_000.0,
            peer: "hnswlib".into(),
            peer_version: "0.8.0".into(),
            peer_options: json!({"m": 16, "ef_construction": 200, "ef": 256}),
            peer_recall: 0.972,
            peer_qps: 4_500.0,
            ratio: estimate.ratio,
            lower: estimate.bounds.map(|bounds| bounds.lower),
            upper: estimate.bounds.map(|bounds| bounds.upper),
            net_ratio: 1.99,
            net_lower: Some(1.98),
            goal: 1.0,
            result: Reached::Yes,
            call_overhead_ns: 850.0,
            bound_qps: Some(80_000.0),
            bound_bytes: Some(512_000),
            bound_of: Some("as many rows as are compared".into()),
            rounds: 20,
            simd: "AVX-512".into(),
            cpu: "some".into(),
            peer_description: json!({}),
            samples,
        }
    }

    #[test]
    fn the_json_has_the_keys_that_others_read() {
        let list = serde_json::to_value([row()]).unwrap();
        let object = list[0].as_object().unwrap();
        for key in ["kind", "peer"] {
            assert!(object[key].is_string(), "{key}");
        }
        for key in
            ["recall", "qps", "peer_recall", "peer_qps", "ratio", "lower", "upper", "bound_qps"]
        {
            assert!(object[key].is_f64(), "{key}");
        }
        assert_eq!(object["operation"], "search");
        assert_eq!(object["result"], "reached");
        assert_eq!(object["samples"][19], json!({"ours": 1_000, "peer": 2_000, "bound": 500}));
        let back: Vec<Row> = serde_json::from_value(list).unwrap();
        assert_eq!(back, [row()]);
    }

    #[test]
    fn a_call_that_costs_is_taken_off_the_peers_time() {
        let samples = vec![Sample { ours: 1_000, peer: 2_000, bound: 0 }; 6];
        assert!((Estimate::of(&samples, 0.0).ratio - 2.0).abs() < 1e-9);
        assert!((Estimate::of(&samples, 1_000.0).ratio - 1.0).abs() < 1e-9);
        // Subtracting more than the whole time leaves no meaningful ratio, but it must not panic.
        assert!(Estimate::of(&samples, 3_000.0).ratio < 0.01);
    }

    #[rstest::rstest]
    #[case(20, 2.0, 0.97, 0.97, Reached::Yes)]
    #[case(20, 2.1, 0.97, 0.97, Reached::No)]
    #[case(20, 1.0, 0.969, 0.97, Reached::RecallBelow)]
    #[case(5, 1.0, 0.97, 0.97, Reached::Undecided)]
    fn goals(
        #[case] rounds: usize,
        #[case] goal: f64,
        #[case] recall: f64,
        #[case] peer_recall: f64,
        #[case] expected: Reached,
    ) {
        let samples = vec![Sample { ours: 1_000, peer: 2_001, bound: 0 }; rounds];
        let estimate = Estimate::of(&samples, 0.0);
        assert_eq!(estimate.reaches(goal, recall, peer_recall), expected);
    }

    #[test]
    fn speeds_are_medians() {
        assert_eq!(speed([1_000, 2_000, 9_000].into_iter(), 4), 2e6);
    }
}
