//! The FUSE daemon, mounted, and taken down on every path.

mod daemon;

pub use daemon::{FuseMount, Readiness, build_if_missing};
