//! Criterion 1's subject: the FUSE daemon, mounted, used as a file system, unmounted.

mod allocation;
mod attributes;
mod capacity;
mod daemon;
mod data;
mod names;
mod operation;
mod vectors;

pub use capacity::a_full_mount_loses_nothing;
pub use daemon::{FuseMount, build_if_missing};
pub use operation::{Operation, operations, run_all};
