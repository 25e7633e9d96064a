//! The statistics that decide ratios.
//!
//! The estimate is the median over rounds of ln(A/B), never a ratio of separate medians, and its
//! bounds are exact order statistics of the rounds ([`order`]). A [`Ratio`] is looked at after a
//! preset number of rounds, and again after more rounds if it is undecided; the looks share one
//! error ([`looks`]). The ratio is judged together with its control ([`calibrated`]). A
//! [`bootstrap`] interval stands beside it and decides nothing.
//!
//! Logarithms and powers come from the `libm` crate. The system's functions differ in the last bits
//! from processor to processor, and a verdict must be the same, byte for byte, on every machine.

mod bootstrap;
mod calibrated;
mod looks;
mod order;
mod proportion;
mod ratio;

pub use bootstrap::{Bootstrap, bootstrap_of_mean, bootstrap_of_median};
pub use calibrated::{Calibrated, resolvable};
pub use looks::{ALPHA_OF_LOOKS, LOOKS, Look, Looked, look};
pub use order::{ALPHA, Interval, failure_rate_bound, median, order_statistic};
pub use proportion::clopper_pearson_upper;
pub use ratio::{Outcome, Ratio};
