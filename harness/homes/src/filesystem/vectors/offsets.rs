//! Adds one vector to all rows and queries: L2 answers must stay the same, within the precision of
//! f32. By default all searches of so few rows are exact, so each index is also searched with an
//! effort of its own, which is a search of its structure.

use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Hit, Kind, Report};

use super::file::{DIM, K, ROWS, declaration, small, vector_file};
use crate::filesystem::operation::{Effort, Operation, operations};

pub(super) const OPERATIONS: &[Operation] =
    operations![a_vector_added_to_all_changes_nothing.effort(Effort::Long)];

/// All values are multiples of 1/`GRID`. So the sum of a value and a whole number below 2^12 is
/// exact in f32, and the difference of two such sums equals the original one.
const GRID: f32 = 2048.0;
/// The relative error of a sum of 24 squares in f32, and by which share rows may be farther than
/// the tenth nearest and still count as neighbours.
const ROUNDING: f64 = 3e-6;
/// The exponents of the components that are added; the contract allows components below 2^56.
const EXPONENTS: [i32; 7] = [0, 11, 16, 20, 23, 40, 55];

fn a_vector_added_to_all_changes_nothing(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let gridded =
        |values: &[f32]| -> Vec<f32> { values.iter().map(|x| (x * GRID).floor() / GRID).collect() };
    let (base, queries) = (gridded(&data.base), gridded(&data.queries));
    let mut exact: Option<Vec<Vec<Hit>>> = None;
    for exponent in EXPONENTS {
        let far = |at: usize| {
            let sign = if (at % DIM).is_multiple_of(3) { -1.0 } else { 1.0 };
            sign * 2f32.powi(exponent)
        };
        let moved = |values: &[f32]| -> Vec<f32> {
            values.iter().enumerate().map(|(at, x)| x + far(at)).collect()
        };
        let (base, queries) = (moved(&base), moved(&queries));
        let file = vector_file(dir, &base)?;
        for kind in Kind::ALL {
            let named = format!("{kind:?}, 2^{exponent} off");
            attach(&file, &Declaration { kind, ..declaration() })
                .context(format!("ATTACH {named}"))?;
            let report = stats(&file, 0).context("STATS")?.report;
            let has_lists = kind != Kind::Ivf || report.measured_effort > 0;
            require!(has_lists, "{named}: no nprobe was measured: {report:?}");
            for effort in [Some(0), of_structure(kind, &report)].into_iter().flatten() {
                let named = format!("{named}, effort {effort}");
                let mut searcher = Searcher::new(DIM as u32, K, 0)?.with_param(effort);
                let (mut answers, mut found) = (Vec::new(), 0);
                for query in queries.chunks_exact(DIM) {
                    let hits = searcher.search(&file, query).context(&named)?.to_vec();
                    found += check(&base, query, &hits).context(&named)?;
                    answers.push(hits);
                }
                let all = answers.len() * K as usize;
                require!(
                    found * 20 >= all * 19,
                    "{named}: {found} of {all} neighbours are found, expected 95 %"
                );
                if kind == Kind::Flat && exponent < 12 {
                    let before = exact.get_or_insert_with(|| answers.clone());
                    require!(
                        *before == answers,
                        "{named}: an exact index answers differently at this offset"
                    );
                }
            }
            detach(&file, 0)?;
        }
    }
    require!(exact.is_some(), "no answers were compared");
    Ok(())
}

/// The effort with which the structure is searched where it is searched by default: the kind's own
/// or, for lists, the one that was measured. `None` where there is no structure.
fn of_structure(kind: Kind, report: &Report) -> Option<u32> {
    match kind {
        Kind::Flat => None,
        Kind::Hnsw => Some(256),
        Kind::Pq => Some(12),
        Kind::Ivf => Some(report.measured_effort),
        Kind::Lsh => Some(48),
    }
}

/// Checks the distances of an answer, in f64 on the rows as they are in f32. Returns how many of
/// its rows are no farther than the tenth nearest.
fn check(base: &[f32], query: &[f32], hits: &[Hit]) -> Result<usize, Failure> {
    let distance = |row: &[f32]| -> f64 {
        query.iter().zip(row).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    };
    let all: Vec<f64> = base.chunks_exact(DIM).map(distance).collect();
    let mut sorted = all.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let limit = sorted[K as usize - 1] * (1.0 + ROUNDING);
    require!(hits.len() == K as usize, "{} hits, expected {K}", hits.len());
    for hit in hits {
        require!(
            (hit.row as usize) < ROWS,
            "row {} is found, but the file has {ROWS} rows",
            hit.row
        );
        let (said, is) = (f64::from(f32::from_bits(hit.distance)), all[hit.row as usize]);
        let near = (said - is).abs() <= ROUNDING * is;
        require!(near, "row {} is reported at distance {said}, expected {is}", hit.row);
    }
    Ok(hits.iter().filter(|hit| all[hit.row as usize] <= limit).count())
}
