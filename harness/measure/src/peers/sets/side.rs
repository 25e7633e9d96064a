//! The indexes that are tried on a set: the engine's kinds with their defaults, and every index of
//! the peers that may be the fastest at recall 0.95.

use serde_json::{Value, json};
use vexfs_uapi::Kind;

use crate::peers::comparison::param_name;
use crate::peers::peer::Peer;

/// Whose index it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// An index of the engine, with the defaults of all parameters of its kind.
    Ours(Kind),
    /// An index of a peer.
    Theirs(Peer),
}

/// An index and the settings that are tried on it.
#[derive(Debug, Clone)]
pub struct SetSide {
    /// Whose it is.
    pub whose: Whose,
    /// The parameters that a peer's index is built with.
    pub built: Value,
    /// Search settings, with the cheapest first in each ladder. Which ladder is cheaper at recall
    /// 0.95 is decided by measuring. An empty object is the default setting.
    pub ladders: Vec<Vec<Value>>,
    /// Whether its build is so expensive that a user must ask for it.
    pub dear: bool,
    /// Whether it is a second index of the same kind, to be compared with the first.
    pub copy: bool,
}

impl SetSide {
    /// Its name in tables.
    pub fn name(&self) -> String {
        match self.whose {
            Whose::Ours(kind) if self.copy => format!("{}, a copy", kind.title()),
            Whose::Ours(kind) => kind.title().to_owned(),
            Whose::Theirs(peer) => match self.built["index"].as_str() {
                Some(index) => format!("{} {index}", peer.name()),
                None => peer.name().to_owned(),
            },
        }
    }
}

/// The engine's kinds, tried with their default search setting only, and a copy of Flat: the ratio
/// of two equal indexes shows what the clock and the place in memory do to a ratio.
pub fn by_default() -> Vec<SetSide> {
    let default = |kind| SetSide { ladders: vec![vec![json!({})]], ..ours(kind) };
    let copy = SetSide { copy: true, ..default(Kind::Flat) };
    KINDS.into_iter().map(default).chain([copy]).collect()
}

/// The engine's kinds.
pub const KINDS: [Kind; 5] = [Kind::Flat, Kind::Hnsw, Kind::Ivf, Kind::Pq, Kind::Lsh];

/// All indexes that are tried on `rows` rows of `dim` components.
pub fn sides(rows: usize, dim: usize) -> Vec<SetSide> {
    KINDS.into_iter().map(ours).chain(theirs(rows, dim)).collect()
}

fn ours(kind: Kind) -> SetSide {
    let mut ladders = vec![vec![json!({})]];
    if let Some(name) = param_name(kind) {
        let (first, last) = match kind {
            Kind::Hnsw => (10, 1_024),
            Kind::Ivf => (1, 1_024),
            _ => (1, 400),
        };
        ladders.push(ladder(name, first, last));
    }
    SetSide { whose: Whose::Ours(kind), built: json!({}), ladders, dear: false, copy: false }
}

fn theirs(rows: usize, dim: usize) -> Vec<SetSide> {
    // As in `comparison`: faiss recommends a multiple of the square root.
    let lists = ((rows as f64).sqrt() as u32).max(1);
    let probes = ladder("nprobe", 1, lists);
    let ef = || vec![ladder("ef", 10, 1_024)];
    let refined = |most| vec![ladder("refine", 1, most)];
    let side = |peer, built, ladders| SetSide {
        whose: Whose::Theirs(peer),
        built,
        ladders,
        dear: false,
        copy: false,
    };
    let mut sides = vec![
        side(Peer::Faiss, json!({"index": "flat"}), vec![vec![json!({})]]),
        side(Peer::Faiss, json!({"index": "hnsw", "m": 16, "ef_construction": 200}), ef()),
        side(Peer::Faiss, json!({"index": "ivf", "lists": lists}), vec![probes.clone()]),
        side(Peer::Faiss, json!({"index": "rabitq"}), refined(400)),
        side(Peer::Hnswlib, json!({"m": 16, "ef_construction": 200}), ef()),
        side(Peer::Usearch, json!({"index": "hnsw", "m": 16, "ef_construction": 200}), ef()),
        side(Peer::Scann, json!({"index": "ah"}), vec![ladder("refine", 10, 4_000)]),
        side(Peer::Scann, json!({"index": "tree", "lists": lists}), tree(lists)),
        side(
            Peer::Glass,
            json!({"index": "hnsw", "m": 32, "ef_construction": 200, "quantizer": "SQ8"}),
            ef(),
        ),
        SetSide {
            // Its candidates come from NN-descent, which takes minutes where other builds take
            // seconds.
            dear: true,
            ..side(
                Peer::Glass,
                json!({"index": "nsg", "m": 32, "ef_construction": 200, "quantizer": "SQ8"}),
                ef(),
            )
        },
        side(Peer::Svs, json!({"index": "vamana", "m": 64, "ef_construction": 128}), ef()),
        side(Peer::Rabitqlib, json!({"index": "symqg", "m": 32, "ef_construction": 200}), ef()),
        side(Peer::Rabitqlib, json!({"index": "ivf", "lists": lists, "bits": 7}), vec![probes]),
        side(
            Peer::Ngt,
            json!({"m": 20}),
            vec![[0, 20, 50, 100, 150, 200, 300, 400, 600].map(|e| json!({"epsilon": e})).to_vec()],
        ),
    ];
    // As many pieces as possible that divide the dimension evenly, with at least two components
    // each.
    if let Some(subvectors) = (1..=dim / 2).rev().find(|pieces| dim.is_multiple_of(*pieces)) {
        let built = json!({"index": "pq", "subvectors": subvectors, "bits": 4});
        sides.push(side(Peer::Faiss, built, refined(400)));
    }
    sides
}

/// Ladders that search some of the lists, and re-rank some of the rows in them.
fn tree(lists: u32) -> Vec<Vec<Value>> {
    let refined = |rows: u32| {
        let steps = ladder("lists", 1, lists).into_iter();
        steps.map(move |mut setting| {
            setting["refine"] = rows.into();
            setting
        })
    };
    [30, 100, 300].map(|rows| refined(rows).collect()).to_vec()
}

/// Settings from `first` to `last`, each larger than the one before by 1 or about a sixth. Both
/// sides use the same steps.
fn ladder(name: &str, first: u32, last: u32) -> Vec<Value> {
    let next = |&step: &u32| (step < last).then(|| (step + (step / 6).max(1)).min(last));
    std::iter::successors(Some(first), next).map(|step| json!({name: step})).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn all_kinds_and_all_peers_are_tried() {
        let sides = sides(20_000, 128);
        for kind in KINDS {
            assert!(sides.iter().any(|side| side.whose == Whose::Ours(kind)), "{kind:?}");
        }
        for peer in Peer::value_variants() {
            assert!(sides.iter().any(|side| side.whose == Whose::Theirs(*peer)), "{peer:?}");
        }
        let mut names: Vec<String> = sides.iter().map(SetSide::name).collect();
        assert!(names.contains(&"faiss pq".to_owned()) && names.contains(&"HNSW".to_owned()));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), sides.len());
    }

    #[test]
    fn by_default_nothing_is_tried_but_the_default() {
        let sides = by_default();
        assert_eq!(sides.len(), KINDS.len() + 1);
        let copies: Vec<_> = sides.iter().filter(|side| side.copy).map(SetSide::name).collect();
        assert_eq!(copies, ["Flat, a copy"]);
        assert!(sides.iter().all(|side| side.ladders == [[json!({})]]), "{sides:?}");
        assert!(sides.iter().all(|side| matches!(side.whose, Whose::Ours(_))));
    }

    #[test]
    fn ladders_are_alike_and_reach_their_end() {
        let values = |ladder: &[Value]| -> Vec<u64> {
            ladder.iter().map(|setting| setting["ef"].as_u64().unwrap()).collect()
        };
        let steps = values(&ladder("ef", 10, 1_024));
        assert_eq!((steps[0], *steps.last().unwrap()), (10, 1_024));
        assert!(steps.windows(2).all(|two| two[1] > two[0] && two[1] * 6 <= two[0] * 7));
        let of = |name: &str| {
            let sides = sides(20_000, 128);
            values(sides.iter().find(|side| side.name() == name).unwrap().ladders.last().unwrap())
        };
        assert_eq!(of("HNSW"), of("glass hnsw"));
    }

    #[test]
    fn codes_divide_the_rows() {
        let pieces = |dim| {
            let sides = sides(10_000, dim);
            let pq = sides.iter().find(|side| side.built["index"] == "pq");
            pq.map(|side| side.built["subvectors"].as_u64().unwrap())
        };
        assert_eq!([128, 14, 3, 2, 1].map(pieces), [Some(64), Some(7), Some(1), Some(1), None]);
    }
}
