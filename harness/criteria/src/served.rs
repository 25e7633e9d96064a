//! What STATS counted for a stretch of searches, against what was asked.

use machine::failure::Failure;
use machine::require;
use vexfs_uapi::{Kind, Stats};

/// Searches answered, and rows compared with their queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Searches.
    pub searches: u64,
    /// Rows compared.
    pub distances: u64,
}

/// What was asked of an index.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The kind of the index.
    pub kind: Kind,
    /// Queries sent.
    pub queries: u64,
    /// Rows in the index.
    pub rows: usize,
    /// Neighbours named for each query.
    pub k: usize,
}

impl Served {
    /// What was counted between two looks at STATS.
    #[must_use]
    pub fn between(before: &Stats, after: &Stats) -> Served {
        Served {
            searches: after.searches - before.searches,
            distances: after.distances - before.distances,
        }
    }

    /// Whether `name` answered all of it, and by an index of that kind. Flat compares every row,
    /// and PQ and LSH the code of every row; a graph is there to compare fewer, though no fewer than
    /// it names. Inverted lists are, too, but compare every row where that is cheaper.
    ///
    /// # Errors
    /// What was asked, and what was counted.
    pub fn check(self, name: &str, asked: &Asked) -> Result<(), Failure> {
        let Asked { kind, queries, rows, k } = *asked;
        let (scan, named) = (queries * rows as u64, queries * k as u64);
        let index_used = match kind {
            Kind::Flat | Kind::Pq | Kind::Lsh => self.distances == scan,
            Kind::Hnsw => (named..scan).contains(&self.distances),
            Kind::Ivf => (named..=scan).contains(&self.distances),
        };
        require!(
            self.searches == queries && index_used,
            "{name} was sent {queries} queries over {rows} rows of an index of kind {kind:?} and \
             counts {self:?}: not authentic"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::every_row(Kind::Flat, 50, 50_000, true)]
    #[case::a_row_less(Kind::Flat, 50, 49_999, false)]
    #[case::a_row_more(Kind::Flat, 50, 50_001, false)]
    #[case::every_code(Kind::Pq, 50, 50_000, true)]
    #[case::some_codes(Kind::Pq, 50, 49_000, false)]
    #[case::every_hash(Kind::Lsh, 50, 50_000, true)]
    #[case::some_hashes(Kind::Lsh, 50, 49_000, false)]
    #[case::a_walk(Kind::Hnsw, 50, 20_000, true)]
    #[case::a_scan_for_a_graph(Kind::Hnsw, 50, 50_000, false)]
    #[case::fewer_than_it_names(Kind::Hnsw, 50, 499, false)]
    #[case::some_lists(Kind::Ivf, 50, 40_000, true)]
    #[case::no_more_than_it_names(Kind::Ivf, 50, 500, true)]
    #[case::all_lists(Kind::Ivf, 50, 50_000, true)]
    #[case::more_than_all_lists(Kind::Ivf, 50, 50_001, false)]
    #[case::nothing(Kind::Ivf, 50, 0, false)]
    #[case::a_query_less(Kind::Flat, 49, 50_000, false)]
    #[case::a_query_more(Kind::Hnsw, 51, 20_000, false)]
    fn the_index_was_really_used(
        #[case] kind: Kind,
        #[case] searches: u64,
        #[case] distances: u64,
        #[case] used: bool,
    ) {
        let asked = Asked { kind, queries: 50, rows: 1_000, k: 10 };
        let said = Served { searches, distances }.check("fuse", &asked);
        assert_eq!(said.is_ok(), used, "{said:?}");
    }
}
