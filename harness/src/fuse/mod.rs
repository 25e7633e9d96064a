//! The FUSE daemon, mounted, and taken down on every path.

mod announcement;
mod daemon;
mod left_behind;

pub(crate) use daemon::kill_daemons_of;
pub use daemon::{FuseMount, Readiness, build_if_missing};
