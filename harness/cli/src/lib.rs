//! The command line of `vexfs-validate`, one file a command.
//!
//! [`main`] reads the command line and runs one command: `run` and `matrix` start nextest on the
//! host and in guests, `guest` boots one for any command, `compare`, `regress` and `soak` measure,
//! and `verdict`, `report` and `diff` read what runs have left. Options that several commands share
//! are in `options`; how a command ends early is in `stop`.
//!
//! This crate may use all others, and no crate uses it. Begin with `command`, then `run`.

mod attest;
mod command;
mod compare;
mod completion;
mod diff;
mod doctor;
pub mod expected;
mod gate;
mod guest;
mod help;
mod in_guest;
mod init;
mod list;
mod matrix;
mod nextest;
mod options;
mod output;
mod phase;
mod place;
mod regress;
pub mod regress_table;
mod report;
mod run;
mod run_dir;
mod sabotaged;
mod soak;
mod stop;
mod tryout;
mod verdict;

pub use command::main;
