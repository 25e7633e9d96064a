//! VexFS at home: mounted, as a FUSE daemon or as a kernel module, and what is tried with it.
//!
//! [`fuse`] starts the daemon and [`kernel`] loads the module; both take down on every path what
//! they put up, and [`Mounted`] is either of them. [`filesystem`] is the table of operations, each
//! a name and a function that tries it in an empty directory. [`sequence`] plays changes that a
//! seed decides and knows what must come of them, and [`torture`] runs other people's tests of file
//! systems and a fuzzer.
//!
//! It stands on `evidence`, `machine` and `measure`, and knows no trial and no guest: who calls it
//! decides what a failure means. Begin with [`filesystem::Operation`] and [`Mounted`].

mod cause;
pub mod filesystem;
pub mod fuse;
pub mod kernel;
mod mounted;
pub mod sequence;
pub mod torture;
pub mod trial_name;

pub use mounted::{Mounted, fuse_options};
