//! The five criteria: their trials, what the trials need, and the policy that decides which of them
//! run.
//!
//! A criterion (`tests/*.rs` of the workspace) is one call of [`main`] with a list of
//! [`trial::Trial`]s: each has a name, the places where it runs, what it needs ([`requirement`])
//! and a body. One policy, [`trial::decide`], says which trials run, which are skipped and which
//! fail because something is missing. Bodies write `evidence`, and `verdict` judges it later.
//!
//! This crate may use all crates except the command line. Begin with [`trial`], then one criterion:
//! [`fuse`], [`dataset`], [`baseline`], [`mod@module`] or [`kernel_vs_fuse`].

pub mod adversary;
pub mod alike;
pub mod baseline;
mod beside_a_build;
pub mod both_homes;
mod busy;
mod claimed;
pub mod competitor_index;
mod containment;
pub mod costs;
mod counted;
pub mod cycles;
pub mod dataset;
pub mod declared;
pub mod doctor;
pub mod faults;
pub mod fuse;
mod insertion;
pub mod kernel_vs_fuse;
mod killed_changes;
pub mod load;
pub mod module;
mod mount_command;
mod parts;
pub mod ratio;
pub mod recorded;
pub mod requirement;
pub mod sabotage;
mod search_memory;
pub mod served;
mod set_id;
pub mod soak;
mod stalled;
mod throttled;
pub mod torture;
pub mod trial;
pub mod walk;
mod watched;

pub use parts::main;
