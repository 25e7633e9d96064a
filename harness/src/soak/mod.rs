//! Soak: the same again and again, until time or number is up.
//!
//! Two things are asked so. Whether the module *endures*: hours of load/unload cycles under load,
//! each with its evidence ([`endure`] does them in the guest, [`Soak`] reads them back), which is
//! what bare metal demands of each kernel of the matrix. And whether the harness accuses a healthy
//! system: [`Repetitions`] of a criterion, each of which that fails is a false alarm.

mod account;
mod cycle;
mod endure;
mod repetitions;

pub use account::Soak;
pub use endure::endure;
pub use repetitions::Repetitions;

/// One-sided error of the bounds.
pub const ALPHA: f64 = 0.05;

#[cfg(test)]
pub(crate) mod tests;
