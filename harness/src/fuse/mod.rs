//! The FUSE daemon, mounted, and taken down on every path.

mod daemon;

pub use daemon::{FuseMount, build_if_missing};
