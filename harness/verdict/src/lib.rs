//! The judge: what a run's directory proves, and the reports about it for people and machines.
//!
//! Everything here is a pure function of the evidence: the verdict, the account of a soak, the
//! report, `junit.xml`, and the difference between two runs. So anyone who doubts a verdict can
//! build this crate alone, on any machine, and compute it again.
//!
//! It depends on the crate `evidence` and knows files, but nothing of mounts, guests, processes or
//! devices. Begin with [`Evidence`], which reads a directory once, and [`of`], which judges it.
//! [`report`] and [`junit`] write down the result; [`soak`] and [`diff`] answer questions of their
//! own.

pub mod attestation;
mod bare_metal;
mod causes;
mod criterion_verdict;
pub mod diff;
mod host_changed;
mod index;
mod judge;
pub mod junit;
mod levels;
#[cfg(test)]
mod made;
pub mod report;
mod rule;
pub mod sabotage;
pub mod soak;
mod table;
mod text;
mod trails;
mod trial_end;
mod trials;
mod unexplained;

pub use bare_metal::{BareMetal, BareMetalCondition};
pub use criterion_verdict::CriterionVerdict;
pub use judge::{FUNCTIONAL, Verdict, exit_of, functional, fuse_is_preserved, in_the_guest, of};
pub use levels::{LevelStanding, WhichHome};
pub use rule::decision::Decision;
pub use rule::judgement::{Judgement, Reason, State};
pub use rule::ratios::{Disturbances, JudgedRatio, recall_below};
pub use rule::recorded::JudgedFigure;
pub use table::table;
pub use trails::{Evidence, Phase};
pub use trial_end::TrialEnd;
pub use trials::not_run;
