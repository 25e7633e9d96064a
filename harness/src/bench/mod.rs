//! The engine's benchmark (`make bench`): the engine in this process beside faiss, hnswlib and
//! usearch in theirs, on one core, in turns.
//!
//! [`comparison`] lists what is compared; [`run`] builds, sweeps both sides over preset settings,
//! lets [`pairing`] choose which stand against each other at equal recall, and measures those
//! pairs in [`turns`] with the [`bound`] between them. A [`row`] is one line of the result,
//! [`table`] prints them.

pub mod bound;
pub mod clustered;
pub mod comparison;
pub mod data;
pub mod engine;
pub mod pairing;
pub mod peer;
pub mod row;
pub mod run;
pub mod table;
pub mod turns;

use crate::contender::Answer;
use crate::failure::Failure;
use crate::oracle::Oracle;

/// Mean recall@k of answers, whose distances must be those of the rows that they name.
///
/// # Errors
/// A query without an answer, or a distance that is not true.
pub fn recall(oracle: &Oracle<'_>, answers: &[Answer]) -> Result<f64, Failure> {
    for (query, answer) in answers.iter().enumerate() {
        oracle.check_distances(query, &answer.ids, &answer.distances)?;
    }
    oracle.mean_recall(answers.iter().map(|answer| &answer.ids[..]))
}
