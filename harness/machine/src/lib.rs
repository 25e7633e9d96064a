//! The machine that this process runs on.
//!
//! It finds programs ([`programs`]) and the checkout ([`project`]), reads `vexfs.toml`
//! ([`config`]), starts and ends processes ([`child`]), looks at mounts ([`mount`]), decides
//! whether this is the host or the guest ([`place`]), and finds the VexFS under test, or builds it
//! ([`under_test`], [`own_sources`]).
//!
//! It depends on `evidence` and on system calls. It boots no guest, mounts no VexFS and knows
//! nothing about trials. Begin with [`failure`] and [`deadline`]: every crate above uses them.

pub mod atomic;
pub mod child;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod distribution;
pub mod environment;
pub mod failure;
pub mod file_lock;
pub mod interrupt;
pub mod memory_limit;
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
