//! Judges a soak from its directory: a test that was repeated for a given time or number.
//!
//! There are two kinds. [`Soak`] asks whether the module *endures*: hours of load/unload cycles
//! under load, which bare metal demands on each kernel of the matrix. [`Repetitions`] asks how
//! often the harness wrongly accuses a healthy system: each failed repetition of a criterion is a
//! false alarm.

pub(crate) mod account;
mod repetitions;
#[cfg(test)]
pub(crate) mod tests;

pub use account::Soak;
pub use repetitions::Repetitions;
