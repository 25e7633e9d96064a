//! The adversary: a user without privileges who may create, read and write files on a mount, and
//! does the worst he can with it. Watchers (root and another user) go on with their own work on the
//! same mount.
//!
//! Each act is a process of its own. A seed decides its requests
//! (`VEXFS_VALIDATION_ADVERSARY_SEED`), and it checks the answers with a plain model. Meanwhile:
//!
//! - every request of the watchers is answered correctly and within a bound, which grows with the
//!   machine's own delays;
//! - SIGKILL ends the adversary within that bound, whatever he waits for, and the home does little
//!   work for him after it;
//! - the home's memory stays within the mount's size and a margin;
//! - when the adversary is gone and his files are removed, free space and memory are as before.

mod acts;
mod bound;
mod exertion;
mod offender;
mod part;
mod scene;
mod stage;
mod standing;
mod trials;
mod watcher;

pub use acts::{ACTS, Act, Until};
pub(crate) use bound::ReplyBound;
pub use offender::PART;
pub use part::play;
pub use stage::run;
pub(crate) use standing::{Standing, processor_time, used_bytes};
pub use trials::trials;
