//! Soak: load/unload cycles of the module under load, in the guest, until the time is up.
//!
//! Each cycle is recorded; `verdict::soak` computes from the records what they prove.

mod cycle;
mod endure;

pub use endure::endure;
