//! The protocol's insertions and searches, round by round.

mod answered;
mod insertion;
mod search;
pub(super) mod sides;
mod unseen;

pub use answered::Answered;
pub use insertion::{InsertionRounds, insertion_rounds};
pub use search::{SearchRounds, search_rounds};
pub use sides::{Sides, fill};
pub use unseen::Unseen;

#[cfg(test)]
mod tests;
