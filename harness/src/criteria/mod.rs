//! What the criteria do; `tests/*.rs` declares it as trials.

pub mod adversary;
pub mod alike;
pub mod baseline;
mod busy;
mod claimed;
pub(crate) mod competitor_index;
mod containment;
pub(crate) mod cycles;
pub mod dataset;
pub(crate) mod declared;
pub mod faults;
pub mod fuse;
pub mod homes;
mod insertion;
pub mod kernel_vs_fuse;
pub mod load;
pub mod module;
pub mod ratio;
pub mod recorded;
pub(crate) mod served;
pub mod torture;
