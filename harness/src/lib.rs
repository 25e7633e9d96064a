//! `vexfs-validate`: the command line over everything else.

pub mod cli;
pub mod expected;
pub mod regress;
