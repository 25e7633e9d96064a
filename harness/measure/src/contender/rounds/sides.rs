//! The four sides of a measurement.

use evidence::protocol::{Arm, Protocol};
use machine::failure::Failure;

use crate::contender::interface::Contender;
use crate::dataset::Dataset;

/// Inserts the base of `dataset` into an empty contender, in the protocol's batches.
///
/// # Errors
/// The contender's first failure.
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

/// The four sides of a measurement: A, B that A is compared with, and two copies of A as controls,
/// one of them [`Slowed`](crate::contender::Slowed).
pub struct Sides<'a> {
    /// What is measured.
    pub a: &'a mut dyn Contender,
    /// What A is compared with.
    pub b: &'a mut dyn Contender,
    /// A copy of A.
    pub again: &'a mut dyn Contender,
    /// A copy of A that is slower by a known fraction.
    pub slowed: &'a mut dyn Contender,
    /// Whether all stores of A's rows give the same answers, bit for bit. A competitor that builds
    /// its graph in several threads builds a different graph in each store.
    pub copies_are_equal: bool,
}

impl Sides<'_> {
    pub(super) fn of(&mut self, arm: Arm) -> &mut dyn Contender {
        match arm {
            Arm::A => self.a,
            Arm::B => self.b,
            Arm::Again => self.again,
            Arm::Slowed => self.slowed,
        }
    }
}
