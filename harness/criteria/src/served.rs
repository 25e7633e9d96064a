//! Checks that searches were served as claimed: between two readings, STATS must have counted
//! exactly the queries sent, and the work that the index takes for them.

use evidence::protocol::PROTOCOL;
use machine::failure::Failure;
use machine::require;
use measure::contender::{Searchable, VexfsFile};
use measure::home;
use vexfs_uapi::{Home, Kind};

/// Counters of STATS: searches answered, and rows compared with queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Searches.
    pub searches: u64,
    /// Rows compared.
    pub distances: u64,
}

/// What an index was asked.
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
    /// The counters of `files`, added up.
    ///
    /// # Errors
    /// STATS fails.
    pub fn by(files: &[VexfsFile]) -> Result<Served, Failure> {
        let mut all = Served::default();
        for file in files {
            let stats = file.stats()?;
            all.searches += stats.searches;
            all.distances += stats.distances;
        }
        Ok(all)
    }

    /// The difference to an earlier reading.
    #[must_use]
    pub fn since(self, before: Served) -> Served {
        Served {
            searches: self.searches.wrapping_sub(before.searches),
            distances: self.distances.wrapping_sub(before.distances),
        }
    }

    /// Checks that `name` answered all queries, with an index of that kind. Flat compares every
    /// row, and PQ and LSH the code of every row. A graph must compare fewer rows than there are,
    /// but no fewer than it names. Inverted lists as well, but they may also compare every row
    /// where that is cheaper.
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

/// The counters of A and of its copies, store by store, which also show that a copy did not ask A's
/// stores.
pub struct OfSides(Vec<Served>);

impl OfSides {
    /// Reads the counters before the searches.
    ///
    /// # Errors
    /// STATS fails.
    pub fn before(sides: &Searchable) -> Result<OfSides, Failure> {
        sides.asked().iter().map(|one| Served::by(one.files)).collect::<Result<_, _>>().map(OfSides)
    }

    /// Checks after the searches that each store has served `queries` for each side that asks it,
    /// with an index of `kind`.
    ///
    /// # Errors
    /// As [`Served::check`].
    pub fn check(
        self,
        home: Home,
        sides: &Searchable,
        kind: Kind,
        queries: u64,
    ) -> Result<(), Failure> {
        for (before, one) in self.0.into_iter().zip(sides.asked()) {
            let served = Served::by(one.files)?.since(before);
            let queries = queries * one.sides;
            let asked = Asked { kind, queries, rows: PROTOCOL.rows, k: PROTOCOL.k };
            let name = match (home::name(home), one.whose) {
                (home, "A") => home.to_owned(),
                (home, copy) => format!("{home}, {copy},"),
            };
            served.check(&name, &asked)?;
        }
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
