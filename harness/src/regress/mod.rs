//! This commit against another one: what each operation costs in each home, on the instruction
//! clock.
//!
//! Each commit is measured in a boot of its own, by the same harness. Two boots agree to
//! [`REPRODUCIBLE_TO`](evidence::clock::REPRODUCIBLE_TO), so that [`BOUND`] can be told from nothing.

mod table;

pub use criteria::costs::{COSTS_FILE, Cost, measure, read, write};
pub use table::{BOUND, Change, changes, table};
