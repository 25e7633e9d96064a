//! The FUSE daemon, mounted, and taken down on every path.

mod announcement;
mod daemon;
mod left_behind;
mod readiness;

pub(crate) use daemon::kill_daemons_of;
pub use daemon::{FuseMount, build_if_missing};
pub use readiness::Readiness;
