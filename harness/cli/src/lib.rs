//! The command line of `vexfs-validate`, one file a command.
//!
//! [`main`] reads the command line and runs one of them: `run` and `matrix` start nextest on the
//! host and in guests, `guest` boots one for any command, `compare`, `regress` and `soak`
//! measure, and `verdict`, `report` and `diff` read what runs have left. What a person may
//! say is in `options`, and what a command says where it cannot go on in `stop`.
//!
//! It stands on everything else, and nothing stands on it. Begin with `command`, then `run`.

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
