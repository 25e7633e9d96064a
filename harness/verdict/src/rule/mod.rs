//! The rules that judge measurements.

pub mod decision;
pub mod judgement;
pub mod ratios;
pub mod recorded;
mod soundness;
