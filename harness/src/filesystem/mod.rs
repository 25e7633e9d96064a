//! What a VexFS does as a file system and by the contract's ioctls, whatever home serves it.

mod allocation;
mod attributes;
mod capacity;
mod data;
mod names;
mod operation;
mod vectors;

pub use capacity::a_full_mount_loses_nothing;
pub use operation::{Operation, operations, run_all};
