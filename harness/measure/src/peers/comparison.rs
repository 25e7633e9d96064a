//! The preset list of comparisons.

use serde_json::{Map, Value};
use vexfs_uapi::Kind;

use super::bound::MustRead;
use super::peer::Peer;

/// An index kind of ours beside one peer's index of the same kind.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Index kind.
    pub kind: Kind,
    /// The library that it is compared with.
    pub peer: Peer,
    /// Which of the library's indexes: the name that its driver knows, or "" if it has only one.
    pub peer_index: &'static str,
    /// The parameters that both indexes are built with, in the order of [`structure_names`].
    pub structure: Vec<u32>,
    /// Further parameters that ours may be built with. If a kind's structure trades speed for
    /// recall in the same way as its search parameter does, neither side is bound to the other's
    /// choice.
    pub alternatives: Vec<Vec<u32>>,
    /// The peer's values of [`param_name`]; empty if it has no such parameter.
    pub peer_params: Vec<u32>,
    /// Our values of it, ascending, in finer steps than the peer's, so that the recalls of a pair
    /// are close.
    pub our_params: Vec<u32>,
    /// The ratio that ours should reach.
    pub goal: f64,
    /// Whether build times are compared as well.
    pub builds: bool,
}

/// Names of the parameters that an index of `kind` is built with, in the contract's order
/// (`VEXFS_PARAM_*`); drivers know the same names.
pub fn structure_names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Flat => &[],
        Kind::Hnsw => &["m", "ef_construction"],
        Kind::Ivf => &["lists"],
        Kind::Pq => &["subvectors", "bits"],
        Kind::Lsh => &["bits"],
    }
}

/// The name of the parameter that can be set for each search.
pub fn param_name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Flat => None,
        Kind::Hnsw => Some("ef"),
        Kind::Ivf => Some("nprobe"),
        Kind::Pq | Kind::Lsh => Some("refine"),
    }
}

/// Parameters by name: those that an index of `kind` was built with, and the search parameter if
/// given.
pub fn named(kind: Kind, structure: &[u32], param: Option<u32>) -> Value {
    let built = structure_names(kind).iter().copied().zip(structure.iter().copied());
    let searched = param_name(kind).zip(param);
    built.chain(searched).collect()
}

impl Comparison {
    /// The options with which the peer's driver is started.
    pub fn peer_options(&self) -> Value {
        let mut options = match named(self.kind, &self.structure, None) {
            Value::Object(options) => options,
            _ => Map::new(),
        };
        if !self.peer_index.is_empty() {
            options.insert("index".into(), self.peer_index.into());
        }
        options.into()
    }

    /// Every structure of ours that is tried.
    pub fn our_structures(&self) -> impl Iterator<Item = &Vec<u32>> {
        std::iter::once(&self.structure).chain(&self.alternatives)
    }

    /// The bytes that a search must read among `rows` rows of `dim` components, and what they are
    /// in words. Ours, built with `structure`, compares the query with `compared` rows.
    pub fn must_read(
        &self,
        structure: &[u32],
        rows: usize,
        dim: usize,
        compared: usize,
    ) -> (MustRead, &'static str) {
        let row = dim * size_of::<f32>();
        let all = |bytes| MustRead { bytes, of: bytes };
        match (self.kind, structure) {
            (Kind::Pq, &[subvectors, bits, ..]) => {
                (all(rows * subvectors as usize * bits as usize / 8), "every row's code")
            }
            (Kind::Lsh, &[bits, ..]) => (all(rows * bits as usize / 8), "every row's hash"),
            (Kind::Hnsw | Kind::Ivf, _) => (
                MustRead { bytes: compared * row, of: rows * row },
                "as many rows, as f32, as are compared",
            ),
            _ => (all(rows * row), "every row, as f32"),
        }
    }
}

/// All comparisons on data of `rows` rows.
pub fn comparisons(rows: usize) -> Vec<Comparison> {
    // faiss recommends a multiple of the square root. With one core and one query per call, a
    // multiple of 1 reads least.
    let lists = ((rows as f64).sqrt() as u32).max(1);
    let ef = [64, 128, 256, 512].to_vec();
    let to_lists = |steps: &[u32]| -> Vec<u32> {
        steps.iter().map(|share| (lists * share / 1000).max(1)).collect()
    };
    let base = Comparison {
        kind: Kind::Flat,
        peer: Peer::Faiss,
        peer_index: "flat",
        structure: vec![],
        alternatives: vec![],
        peer_params: vec![],
        our_params: vec![],
        goal: 1.0,
        builds: false,
    };
    let hnsw = Comparison {
        kind: Kind::Hnsw,
        peer_index: "",
        structure: vec![16, 200],
        peer_params: ef,
        our_params: steps(16, 1024),
        ..base.clone()
    };
    let refined = |kind, peer_index, structure, peer_params: &[u32]| Comparison {
        kind,
        peer_index,
        structure,
        peer_params: peer_params.to_vec(),
        our_params: steps(1, 400),
        ..base.clone()
    };
    vec![
        // An exact search that need not read all bytes should be twice as fast as one that reads
        // them all.
        Comparison { goal: 2.0, ..base.clone() },
        Comparison { peer: Peer::Usearch, peer_index: "exact", ..base.clone() },
        Comparison { peer: Peer::Hnswlib, builds: true, ..hnsw.clone() },
        Comparison { peer: Peer::Faiss, peer_index: "hnsw", builds: true, ..hnsw.clone() },
        Comparison { peer: Peer::Usearch, peer_index: "hnsw", ..hnsw },
        Comparison {
            kind: Kind::Ivf,
            peer_index: "ivf",
            structure: vec![lists],
            peer_params: to_lists(&[10, 25, 50, 100, 200, 400, 800]),
            our_params: steps(1, lists),
            ..base.clone()
        },
        refined(Kind::Pq, "pq", vec![64, 4], &[4, 6, 10, 20]),
        refined(Kind::Pq, "pq", vec![32, 8], &[4, 6, 10, 20]),
        Comparison {
            alternatives: vec![vec![512], vec![768], vec![1536]],
            ..refined(Kind::Lsh, "lsh", vec![1024], &[30, 60, 120, 240])
        },
    ]
}

/// Whole numbers from `first` to `last`, each larger than the one before by 1 or at most 3 %.
fn steps(first: u32, last: u32) -> Vec<u32> {
    let next = |&step: &u32| Some(step + (step / 33).max(1));
    std::iter::successors(Some(first), next).take_while(|&step| step <= last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_compared() {
        let all = comparisons(10_000);
        for kind in [Kind::Flat, Kind::Hnsw, Kind::Ivf, Kind::Pq, Kind::Lsh] {
            assert!(all.iter().any(|one| one.kind == kind), "{kind:?}");
        }
        for one in &all {
            assert_eq!(one.structure.len(), structure_names(one.kind).len());
            assert!(one.our_structures().all(|s| s.len() == one.structure.len()));
            assert!(one.our_params.is_sorted() && one.peer_params.is_sorted());
            assert_eq!(one.peer_params.is_empty(), param_name(one.kind).is_none());
        }
    }

    #[test]
    fn drivers_get_parameters_by_name() {
        let all = comparisons(10_000);
        let options: Vec<String> = all.iter().map(|one| one.peer_options().to_string()).collect();
        assert_eq!(options[0], r#"{"index":"flat"}"#);
        assert_eq!(options[2], r#"{"ef_construction":200,"m":16}"#);
        assert_eq!(options[5], r#"{"index":"ivf","lists":100}"#);
        let searched = named(Kind::Ivf, &[100], Some(7)).to_string();
        assert_eq!(searched, r#"{"lists":100,"nprobe":7}"#);
    }

    #[test]
    fn steps_are_small() {
        assert_eq!(steps(1, 50), (1..=50).collect::<Vec<_>>());
        let steps = steps(100, 1024);
        assert!(steps.windows(2).all(|two| two[1] > two[0] && two[1] * 33 <= two[0] * 34));
        assert!(steps.len() < 100);
    }

    #[test]
    fn bytes_that_a_search_must_read() {
        let all = comparisons(10_000);
        let bytes = |at: usize| all[at].must_read(&all[at].structure, 10_000, 128, 700).0;
        assert_eq!(bytes(0), MustRead { bytes: 5_120_000, of: 5_120_000 });
        assert_eq!(bytes(2), MustRead { bytes: 700 * 512, of: 5_120_000 });
        assert_eq!(bytes(6), MustRead { bytes: 320_000, of: 320_000 });
        assert_eq!(bytes(8), MustRead { bytes: 1_280_000, of: 1_280_000 });
    }
}
