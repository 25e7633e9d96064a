//! Vector files: the contract's ioctls, in either home.

mod batches;
mod concurrent;
mod cuts;
mod file;
mod growing;
mod in_part;
mod kinds;
mod lifetime;
mod limits;
mod mapped_rows;
mod offsets;
mod pauses;
mod reports;
mod requests;
mod rows;
mod sequences;

use super::operation::Operation;

pub use concurrent::{Served, requests_end_well};
pub(super) use file::nearest;

/// All operations on vector files.
pub(super) fn operations() -> impl Iterator<Item = Operation> {
    [
        kinds::OPERATIONS,
        offsets::OPERATIONS,
        reports::OPERATIONS,
        rows::OPERATIONS,
        sequences::OPERATIONS,
        in_part::OPERATIONS,
        mapped_rows::OPERATIONS,
        growing::OPERATIONS,
        lifetime::OPERATIONS,
        requests::OPERATIONS,
        limits::OPERATIONS,
        concurrent::OPERATIONS,
        cuts::OPERATIONS,
        pauses::OPERATIONS,
        batches::OPERATIONS,
    ]
    .into_iter()
    .flatten()
    .copied()
}
