//! VexFS at home: mounted as a FUSE daemon or as a kernel module, and the operations that are tried
//! on it.
//!
//! [`fuse`] starts the daemon and [`kernel`] loads the module; on every path, both take down what
//! they have set up. [`Mounted`] is either of them. [`filesystem`] is the table of operations, each
//! a name and a function that tries it in an empty directory. [`sequence`] makes random changes
//! from a seed and knows their correct result. [`torture`] runs file-system tests by others, and a
//! fuzzer.
//!
//! It depends on `evidence`, `machine` and `measure`, and knows no trials and no guest: the caller
//! decides what a failure means. Begin with [`filesystem::Operation`] and [`Mounted`].

pub mod cause;
pub mod filesystem;
pub mod fuse;
pub mod kernel;
mod mounted;
mod own;
pub mod sequence;
pub mod torture;
pub mod trial_name;

pub use mounted::{Mounted, fuse_options};
pub use own::is_own;
