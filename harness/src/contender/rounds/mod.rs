//! Contenders at the protocol's work, round by round.

mod answered;
mod insertion;
mod search;
mod unseen;

pub use answered::Answered;
use evidence::protocol::Arm;
use evidence::protocol::Protocol;
pub use insertion::{InsertionRounds, insertion_rounds};
pub use search::{SearchRounds, search_rounds};
pub use unseen::Unseen;

use super::Contender;
use crate::dataset::Dataset;
use crate::failure::Failure;

/// Inserts the base of `dataset` into an empty contender, in the protocol's batches.
///
/// # Errors
/// Its first failure.
pub fn fill(
    contender: &mut dyn Contender,
    dataset: &Dataset,
    protocol: &Protocol,
) -> Result<(), Failure> {
    let batches = dataset.base.chunks(protocol.insertion_batch * dataset.dim);
    for (number, rows) in batches.enumerate() {
        contender.insert((number * protocol.insertion_batch) as u64, rows)?;
    }
    Ok(())
}

/// The four sides of a measurement: A, what it is held against, and two copies of A as controls,
/// one of them [`Slowed`](super::Slowed).
pub struct Sides<'a> {
    /// What is measured.
    pub a: &'a mut dyn Contender,
    /// What it is held against.
    pub b: &'a mut dyn Contender,
    /// A copy of A.
    pub again: &'a mut dyn Contender,
    /// A copy of A, slower by a known part.
    pub slowed: &'a mut dyn Contender,
}

impl Sides<'_> {
    fn of(&mut self, arm: Arm) -> &mut dyn Contender {
        match arm {
            Arm::A => self.a,
            Arm::B => self.b,
            Arm::Again => self.again,
            Arm::Slowed => self.slowed,
        }
    }
}

#[cfg(test)]
mod tests;
