//! The FUSE daemon, mounted, and taken down on every path.

mod announcement;
mod connection;
mod daemon;
pub mod guardian;
mod left_behind;
mod not_started;
mod readiness;
mod starting;
mod words;

pub use daemon::kill_daemons_of;
pub use daemon::{FuseMount, build_if_missing, end_all_of, foreground};
pub use not_started::{How, NotStarted};
pub use readiness::{Readiness, wait_no_longer_than};
