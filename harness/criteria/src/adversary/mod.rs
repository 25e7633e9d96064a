//! An adversary: a user without privileges who may create, read and write files on a mount, and does
//! his worst with it. Beside him are watchers, root and another user, who go on with their work.
//!
//! An act of his is a process of its own. What he does in it a seed decides
//! (`VEXFS_VALIDATION_ADVERSARY_SEED`), and his answers he checks by a plain model. Meanwhile:
//!
//! - every request of the watchers is answered within a [bound](bound::ReplyBound), and rightly;
//! - SIGKILL ends him within another, whatever he waits for, and little is worked for him after it;
//! - what the home holds stays within the mount's size and a margin;
//! - when he is gone and his files are removed, room and memory are as before.

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
pub use offender::PART;
pub use part::play;
pub use stage::run;
pub(crate) use standing::processor_time;
pub use trials::trials;
