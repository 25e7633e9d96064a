//! The rule by which measurements count, and what they come to.

pub mod decision;
pub mod judgement;
pub mod ratios;
pub mod recorded;
mod soundness;
