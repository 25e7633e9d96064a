//! The sets of data that kinds are compared on.

use clap::ValueEnum;
use evidence::protocol::{PROTOCOL, Protocol};
use machine::failure::Failure;

use super::clustered::Clustered;
use crate::dataset::Dataset;

/// How many queries recall is measured with. With 100, a single query that a graph does not reach
/// would make a whole per cent.
pub const QUERIES: usize = 500;
/// Queries of a timed round: the first ones, as many as the protocol has.
pub const TIMED: usize = PROTOCOL.queries;

/// The benchmark's second set of data.
pub const CLUSTERED: Clustered = Clustered { rows: 100_000, dim: 128, queries: QUERIES, seed: 42 };

/// A set of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Data {
    /// The protocol's: 10,000 x 128, uniform.
    Protocol,
    /// 100,000 x 128 in 1,000 clusters of very different sizes.
    Clustered,
}

impl Data {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Data::Protocol => "protocol",
            Data::Clustered => "clustered",
        }
    }

    /// Rows, [`QUERIES`] queries, and the protocol that describes them to a driver. `rows` is the
    /// size of the clustered set. The protocol's own queries are followed by the next ones of their
    /// stream.
    ///
    /// # Errors
    /// If the protocol's data has the wrong digest.
    pub fn generate(self, rows: usize) -> Result<(Dataset, Protocol), Failure> {
        match self {
            Data::Protocol => {
                let mut dataset = Dataset::of_protocol()?.clone();
                dataset.queries.extend(dataset.further_queries(QUERIES - PROTOCOL.queries));
                Ok((dataset, Protocol { queries: QUERIES, ..PROTOCOL }))
            }
            Data::Clustered => {
                let clustered = Clustered { rows, ..CLUSTERED };
                let Clustered { rows, dim, queries, seed } = clustered;
                let protocol = Protocol { rows, dim, queries, seed, ..PROTOCOL };
                Ok((clustered.generate(), protocol))
            }
        }
    }
}
