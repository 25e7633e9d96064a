//! Soak, read back from its directory: the same again and again, until time or number is up.
//!
//! Two things are asked so. Whether the module *endures*: hours of load/unload cycles under load,
//! each with its evidence ([`Soak`]), which is what bare metal demands of each kernel of the
//! matrix. And whether the harness accuses a healthy system: [`Repetitions`] of a criterion, each
//! of which that fails is a false alarm.

pub(crate) mod account;
mod repetitions;
#[cfg(test)]
pub(crate) mod tests;

pub use account::Soak;
pub use repetitions::Repetitions;
