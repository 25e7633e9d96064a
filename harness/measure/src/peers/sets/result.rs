//! The result of measuring a set, as in `target/bench/sets.json`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::peers::row::{Estimate, Reached, Sample, speed};

/// The ratio to the best peer that ours should reach.
const GOAL: f64 = 1.0;

/// The results for one set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The set's name.
    pub set: String,
    /// What the set is, in one line.
    pub about: String,
    /// l2, inner_product or cosine.
    pub metric: String,
    /// Rows.
    pub rows: usize,
    /// Components of a row.
    pub dim: usize,
    /// Queries of a round.
    pub timed: usize,
    /// Our indexes first, then the peers'.
    pub lines: Vec<Line>,
    /// Indexes that are not compared, and why.
    pub absent: Vec<Absent>,
    /// The instruction set that ours used.
    pub simd: String,
    /// Model name of the processor.
    pub cpu: String,
}

/// An index on the set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// A kind of ours, or a peer and which of its indexes.
    pub index: String,
    /// Whether it is an index of ours.
    pub ours: bool,
    /// Version of a peer's package; empty for ours.
    pub version: String,
    /// The parameters of a peer's index; ours are built with their defaults.
    pub built: Value,
    /// Seconds that the build took, possibly while other indexes were built on other processors.
    pub build_s: f64,
    /// Bytes per row: by the index's own count for ours, and by the growth of the process for a
    /// peer's.
    pub bytes_per_row: f64,
    /// Recall@k, judged by distance, with the default setting; only for ours.
    pub default_recall: Option<f64>,
    /// Queries a second with the default setting, from one round while other indexes may have been
    /// built; only for ours.
    pub default_qps: Option<f64>,
    /// Its default speed over that of Flat, measured in turns of these two; only for ours except
    /// Flat, and for Flat's copy.
    pub over_flat: Option<OverFlat>,
    /// The best recall of all settings that were tried.
    pub best_recall: f64,
    /// The cheapest setting that reaches recall 0.95, if there is one.
    pub enough: Option<Enough>,
    /// The comparison with the fastest peer; only for ours.
    pub beside: Option<Beside>,
}

/// Speed at recall 0.95.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enough {
    /// The setting; empty for the default.
    pub setting: Value,
    /// Its recall@k, judged by distance.
    pub recall: f64,
    /// Queries a second, the median over rounds.
    pub qps: f64,
    /// The cost of a call of a peer, measured on its smallest index.
    pub call_overhead_ns: f64,
    /// The time of all queries, for each round.
    pub rounds_ns: Vec<u64>,
}

/// Ours compared with the fastest peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// The peer's index.
    pub index: String,
    /// Our speed over the peer's: exp of the median over rounds of the logarithm.
    pub ratio: f64,
    /// Lower bound; `None` if there were too few rounds.
    pub lower: Option<f64>,
    /// Upper bound.
    pub upper: Option<f64>,
    /// The ratio as if calling the peer cost nothing.
    pub net_ratio: f64,
    /// Lower bound of the net ratio.
    pub net_lower: Option<f64>,
    /// Whether the bounds of the net ratio reach the goal, 1.
    pub result: Reached,
}

/// The default speed of a kind over that of Flat.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OverFlat {
    /// exp of the median over rounds of the logarithm.
    pub ratio: f64,
    /// Lower bound; `None` if there were too few rounds.
    pub lower: Option<f64>,
    /// Upper bound.
    pub upper: Option<f64>,
    /// Whether the bounds reach the goal, 1.
    pub result: Reached,
}

impl OverFlat {
    /// Computes the ratio from rounds whose peer is Flat.
    pub fn of(samples: &[Sample]) -> Self {
        let estimate = Estimate::of(samples, 0.0);
        OverFlat {
            ratio: estimate.ratio,
            lower: estimate.bounds.map(|bounds| bounds.lower),
            upper: estimate.bounds.map(|bounds| bounds.upper),
            // An exact search misses nothing, so Flat would always win on recall, which has a
            // column of its own.
            result: estimate.reaches(GOAL, 1.0, 1.0),
        }
    }
}

/// An index that is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// A peer and which of its indexes.
    pub index: String,
    /// The reason.
    pub why: String,
}

impl Enough {
    /// Mean time of a query in nanoseconds without the cost of the call: the median over rounds.
    pub fn net_ns(&self, timed: usize) -> f64 {
        1e9 / speed(self.rounds_ns.iter().copied(), timed) - self.call_overhead_ns
    }
}

impl Measured {
    /// Compares each of ours with the peer that is fastest if calls cost nothing.
    pub fn set_beside(&mut self) {
        let timed = self.timed;
        let fastest = self
            .lines
            .iter()
            .filter(|line| !line.ours)
            .filter_map(|line| Some((line.index.clone(), line.enough.clone()?)))
            .min_by(|a, b| a.1.net_ns(timed).total_cmp(&b.1.net_ns(timed)));
        let Some((index, peer)) = fastest else { return };
        for line in self.lines.iter_mut().filter(|line| line.ours) {
            let Some(ours) = &line.enough else { continue };
            let samples: Vec<Sample> = ours
                .rounds_ns
                .iter()
                .zip(&peer.rounds_ns)
                .map(|(&ours, &peer)| Sample { ours, peer, bound: 0 })
                .collect();
            let as_measured = Estimate::of(&samples, 0.0);
            let net = Estimate::of(&samples, peer.call_overhead_ns * timed as f64);
            line.beside = Some(Beside {
                index: index.clone(),
                ratio: as_measured.ratio,
                lower: as_measured.bounds.map(|bounds| bounds.lower),
                upper: as_measured.bounds.map(|bounds| bounds.upper),
                net_ratio: net.ratio,
                net_lower: net.bounds.map(|bounds| bounds.lower),
                // Both have the recall that was asked for.
                result: net.reaches(GOAL, 1.0, 1.0),
            });
        }
    }

    /// The index of ours that is fastest at recall 0.95.
    pub fn best_of_ours(&self) -> Option<&Line> {
        let speed = |line: &&Line| line.enough.as_ref().map_or(0.0, |enough| enough.qps);
        let ours = self.lines.iter().filter(|line| line.ours && line.enough.is_some());
        ours.max_by(|a, b| speed(a).total_cmp(&speed(b)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub fn line(index: &str, ours: bool, round_ns: u64, overhead: f64) -> Line {
        Line {
            index: index.into(),
            ours,
            version: if ours { String::new() } else { "1.2".into() },
            built: json!({}),
            build_s: 1.5,
            bytes_per_row: 620.4,
            default_recall: ours.then_some(0.971),
            default_qps: ours.then_some(9_000.0),
            over_flat: None,
            best_recall: 0.99,
            enough: Some(Enough {
                setting: json!({"ef": 64}),
                recall: 0.952,
                qps: 1e11 / round_ns as f64,
                call_overhead_ns: overhead,
                rounds_ns: vec![round_ns; 20],
            }),
            beside: None,
        }
    }

    pub fn measured() -> Measured {
        let sample = Sample { ours: 10, peer: 7, bound: 0 };
        let over_flat = Some(OverFlat::of(&[sample; 20]));
        let none = Line { enough: None, best_recall: 0.41, over_flat, ..line("PQ", true, 1, 0.0) };
        let lines = vec![
            line("HNSW", true, 1_000_000, 0.0),
            none,
            line("faiss hnsw", false, 2_500_000, 1_000.0),
            line("glass hnsw", false, 2_300_000, 0.0),
        ];
        let why = "it does not load".into();
        let mut measured = Measured {
            set: "sift".into(),
            about: "descriptors".into(),
            metric: "l2".into(),
            rows: 20_000,
            dim: 128,
            timed: 100,
            lines,
            absent: vec![Absent { index: "ngt".into(), why }],
            simd: "AVX2".into(),
            cpu: "some".into(),
        };
        measured.set_beside();
        measured
    }

    #[test]
    fn ours_stand_beside_the_peer_that_is_fastest_without_its_calls() {
        let measured = measured();
        let beside = measured.lines[0].beside.as_ref().unwrap();
        // As measured, glass is faster; faiss's calls cost 1,000 of 25,000 ns more.
        assert_eq!(beside.index, "glass hnsw");
        assert!((beside.ratio - 2.3).abs() < 1e-9 && beside.result == Reached::Yes);
        assert_eq!(measured.best_of_ours().unwrap().index, "HNSW");
        assert!(measured.lines[1].beside.is_none());
        let mut dear_calls = measured.clone();
        dear_calls.lines[2].enough.as_mut().unwrap().call_overhead_ns = 16_000.0;
        dear_calls.set_beside();
        let beside = dear_calls.lines[0].beside.as_ref().unwrap();
        assert_eq!(beside.index, "faiss hnsw");
        assert!((beside.ratio - 2.5).abs() < 1e-9 && (beside.net_ratio - 0.9).abs() < 1e-9);
        assert_eq!(beside.result, Reached::No);
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let json = serde_json::to_string(&measured()).unwrap();
        assert_eq!(serde_json::from_str::<Measured>(&json).unwrap(), measured());
    }

    #[test]
    fn a_kind_by_default_is_held_against_flat() {
        let over = |ours, flat| OverFlat::of(&[Sample { ours, peer: flat, bound: 0 }; 20]);
        let slower = over(2_000, 1_000);
        assert!((slower.ratio - 0.5).abs() < 1e-9 && slower.result == Reached::No);
        assert_eq!(over(1_000, 1_000).result, Reached::Yes);
        let few = OverFlat::of(&[Sample { ours: 2, peer: 1, bound: 0 }]);
        assert_eq!((few.lower, few.result), (None, Reached::Undecided));
    }
}
