//! The engine's benchmark (`make bench`): the engine in this process beside faiss, hnswlib and
//! usearch in processes of their own, on one core, in turns.
//!
//! [`comparison`] lists what is compared. [`run`] builds both sides and tries preset settings on
//! them, lets [`pairing`] choose the settings that are compared at equal recall, and measures those
//! pairs in [`turns`] with the [`bound`] in between. A [`row`] is one line of the result; [`table`]
//! prints them. [`sets`] is the comparison on real-world data, with all peers. [`homes`] is the
//! other benchmark: what each home adds to the cost of the engine.

pub mod bound;
pub mod clustered;
pub mod comparison;
pub mod core;
pub mod data;
pub mod engine;
pub mod homes;
pub mod pairing;
pub mod peer;
pub mod row;
pub mod run;
pub mod sets;
pub mod table;
pub mod turns;

use std::fs;
use std::path::Path;

use machine::atomic;
use machine::failure::{Failure, WithContext};
use serde::Serialize;

use crate::contender::Answer;
use crate::oracle::Oracle;

/// Checks answers to the first queries: the distances must be those of the rows that they name.
///
/// # Errors
/// The first wrong distance.
pub fn require_true(oracle: &Oracle<'_>, answers: &[Answer]) -> Result<(), Failure> {
    for (query, answer) in answers.iter().enumerate() {
        oracle.check_distances(query, &answer.ids, &answer.distances)?;
    }
    Ok(())
}

/// Mean recall@k of answers, whose distances must be those of the rows that they name.
///
/// # Errors
/// If a query has no answer, or a distance is wrong.
pub fn recall(oracle: &Oracle<'_>, answers: &[Answer]) -> Result<f64, Failure> {
    require_true(oracle, answers)?;
    let mean = oracle.mean_recall(answers.iter().map(|answer| &answer.ids[..]))?;
    // Round away what adding up tenths in some order leaves behind, because recalls are compared,
    // and equal ones must be equal.
    Ok((mean * 1e9).round() / 1e9)
}

/// Writes a result to `file`, atomically.
pub fn write_json(file: &Path, rows: &impl Serialize) -> Result<(), Failure> {
    let directory = atomic::parent(file);
    let mut json = serde_json::to_vec_pretty(rows)?;
    json.push(b'\n');
    fs::create_dir_all(directory).context(directory.display())?;
    atomic::write(file, &json).context(file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;

    #[test]
    fn recalls_do_not_depend_on_which_query_lost() {
        let dataset = Dataset::generate(3, 40, 4, 30);
        let oracle = Oracle::new(&dataset, &dataset.queries, 10);
        let mut engine = engine::Engine::build(vexfs_uapi::Kind::Flat, &[], &dataset, 10).unwrap();
        engine.round(0, engine.queries()).unwrap();
        let all = engine.answers();
        let without = |places: &[(usize, usize)]| {
            let mut answers = all.clone();
            for &(query, hits) in places {
                answers[query].ids.truncate(hits);
                answers[query].distances.truncate(hits);
            }
            recall(&oracle, &answers).unwrap()
        };
        assert_eq!(without(&[]), 1.0);
        // Seven hits fewer, spread over several queries.
        let spread = without(&[(0, 9), (7, 7), (11, 9), (29, 8)]);
        assert_eq!(
            [spread, without(&[(2, 3)])],
            [293.0 / 300.0; 2].map(|r| (r * 1e9f64).round() / 1e9)
        );
    }
}
