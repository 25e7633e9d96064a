//! The machine that this process runs on: what is there, what it is asked to do, what is built.
//!
//! It finds programs ([`programs`]) and the checkout ([`project`]), reads `vexfs.toml`
//! ([`config`]), starts and ends processes ([`child`]), looks at mounts ([`mount`]), says whether
//! this is the host or the guest ([`place`]), and knows where the VexFS under test is, and builds
//! it where it is not there ([`under_test`], [`own_sources`]).
//!
//! It stands on `evidence` and on system calls. It boots no guest, mounts no VexFS and knows
//! nothing of trials. Begin with [`failure`] and [`deadline`]: every crate above fails and waits
//! with them.

pub mod child;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod environment;
pub mod failure;
pub mod interrupt;
pub mod mount;
pub mod noise;
pub mod own_sources;
pub mod part;
pub mod place;
pub mod programs;
pub mod project;
pub mod selftest;
pub mod settings;
pub mod temporary;
pub mod uncached;
pub mod under_test;
