//! A differential walk: one random walk of operations, step by step in several homes at once. See
//! docs/walk.md.

mod apply;
mod choose;
mod compare;
mod coverage;
mod draw;
mod exceptions;
mod home;
mod lacking;
mod operation;
mod outcome;
mod reduce;
mod referee;
mod script;
mod snapshot;
#[cfg(test)]
mod tests;
mod tmpfs;
mod trials;

pub use trials::trials;
