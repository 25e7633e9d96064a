//! Criterion 1's subject: the FUSE daemon, mounted, used as a file system, unmounted.

mod attributes;
mod daemon;
mod data;
mod names;
mod operation;
mod vectors;

pub use daemon::{FuseMount, build_if_missing};
pub use operation::{Operation, operations, run_all};
