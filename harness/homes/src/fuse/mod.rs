//! Mounts the FUSE daemon, and takes it down on every path.

mod announcement;
mod connection;
mod daemon;
mod elsewhere;
mod foreground;
pub mod guardian;
mod left_behind;
mod memory;
mod not_started;
mod readiness;
mod running;
mod scratch;
mod shown;
mod starting;
mod words;

pub use daemon::{FuseMount, build_if_missing};
pub use foreground::{Foreground, NothingLeft};
pub use not_started::{How, NotStarted};
pub use readiness::{MOUNT_LIMIT, Readiness, wait_no_longer_than};
pub use running::kill_daemons_of;
pub use scratch::Scratch;
pub use shown::in_shell;
