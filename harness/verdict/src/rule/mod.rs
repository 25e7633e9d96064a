//! The rule that judges measurements.

pub mod decision;
pub mod judgement;
pub mod ratios;
pub mod recorded;
mod soundness;
