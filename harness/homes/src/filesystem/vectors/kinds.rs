//! Five kinds of index by three metrics: what they find is true, sufficient, and the same
//! everywhere.

use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::contender::{Contender, InProcess};
use measure::dataset::Dataset;
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Hit, Kind, Metric};

use super::file::{DIM, K, ROWS, declaration, indexed, nearest, small, vector_file};
use crate::filesystem::expect::expect_errno;
use crate::filesystem::operation::{Effort, Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    five_kinds_by_three_metrics.effort(Effort::Long),
    batches_are_answered_as_one_by_one,
    stats_count,
];

/// The least mean recall that each kind must have by default: what the contract promises on any
/// rows, and a little more of a graph, because the rows here are few and easy.
const LEAST_RECALL: [(Kind, f64); 5] =
    [(Kind::Flat, 1.0), (Kind::Hnsw, 0.98), (Kind::Pq, 0.95), (Kind::Ivf, 0.95), (Kind::Lsh, 0.95)];
const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

/// The relative error that a distance may have, and the smallest distance that it applies to.
const TOLERANCE: f64 = 1e-4;
const NEAR_ZERO: f64 = 0.01;

/// The distance as the contract defines it, in f64.
fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    match metric {
        Metric::L2 => a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum(),
        Metric::InnerProduct => -dot(a, b),
        Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
    }
}

/// Checks one answer against all rows, and returns its recall.
fn check(data: &Dataset, metric: Metric, query: &[f32], hits: &[Hit]) -> Result<f64, Failure> {
    let exact: Vec<f64> =
        data.base.chunks_exact(DIM).map(|row| distance(metric, row, query)).collect();
    let tolerance = |distance: f64| TOLERANCE * distance.abs().max(NEAR_ZERO);
    let mut in_order = exact.clone();
    in_order.sort_unstable_by(f64::total_cmp);
    let limit = in_order[K as usize - 1];
    let mut right = 0;
    for (rank, hit) in hits.iter().enumerate() {
        let Some(&due) = exact.get(hit.row as usize) else {
            machine::fail!("row {} is found, which does not exist", hit.row)
        };
        let said = f64::from(f32::from_bits(hit.distance));
        let close = (said - due).abs() <= tolerance(due);
        require!(close, "row {} is reported at distance {said}, expected {due}", hit.row);
        let before = &hits[..rank];
        require!(before.iter().all(|other| other.row != hit.row), "row {} is found twice", hit.row);
        let ordered = before.last().is_none_or(|last| {
            let (last_distance, distance) =
                (f32::from_bits(last.distance), f32::from_bits(hit.distance));
            last_distance < distance || last_distance == distance && last.row < hit.row
        });
        require!(ordered, "hits are not sorted nearest first, ties by row: {hits:?}");
        right += u32::from(due <= limit + tolerance(limit) / 10.0);
    }
    require!(hits.len() == K as usize, "{} hits, expected {K}", hits.len());
    Ok(f64::from(right) / f64::from(K))
}

fn five_kinds_by_three_metrics(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = vector_file(dir, &data.base)?;
    for ((kind, least), metric) in LEAST_RECALL.iter().flat_map(|kind| METRICS.map(|m| (*kind, m)))
    {
        let named = format!("{kind:?} by {metric:?}");
        let declaration = Declaration { kind, metric, seed: 5, ..declaration() };
        let rows = attach(&file, &declaration).context(format!("ATTACH {named}"))?;
        require!(rows == ROWS as u64, "{named}: {rows} rows are indexed, expected {ROWS}");
        let mut alone = InProcess::new(&declaration)?;
        alone.insert(0, &data.base)?;
        let expected = alone.search(&data.queries, K as usize)?.answers;
        let mut searcher = Searcher::new(DIM as u32, K, 0)?;
        let mut recall: f64 = 0.0;
        for (query, expected) in data.queries.chunks_exact(DIM).zip(expected) {
            let hits = searcher.search(&file, query).context(&named)?;
            recall += check(&data, metric, query, hits).context(&named)?;
            let same = hits.len() == expected.ids.len()
                && hits.iter().zip(expected.ids.iter().zip(&expected.distances)).all(
                    |(hit, (&row, distance))| hit.row == row && hit.distance == distance.to_bits(),
                );
            require!(same, "{named}: the engine in process answers differently from {hits:?}");
        }
        recall /= (data.queries.len() / DIM) as f64;
        let enough = recall >= least;
        require!(enough, "{named}: recall {recall}, expected {least} or more");
        let told = stats(&file, 0).context("STATS")?;
        let declared = (told.dim, told.metric, told.kind, told.rows);
        let due = (DIM as u32, metric as u32, kind as u32, ROWS as u64);
        require!(declared == due, "{named}: STATS reports {declared:?}, expected {due:?}");
        let queries = (data.queries.len() / DIM) as u64;
        require!(
            told.searches == queries,
            "{named}: STATS counts {} searches, expected {queries}",
            told.searches
        );
        require!(told.memory > 0, "{named}: STATS reports no memory for the index");
        detach(&file, 0).context(format!("DETACH {named}"))?;
        let detached = searcher.search(&file, &data.queries[..DIM]).map(<[Hit]>::len);
        expect_errno(detached, libc::ENOENT, "a search after DETACH")?;
    }
    Ok(())
}

fn batches_are_answered_as_one_by_one(dir: &Path) -> Result<(), Failure> {
    // More queries than fit into one request.
    let data = Dataset::generate(7, ROWS, DIM, 200);
    let file = indexed(dir, &data.base)?;
    let before = stats(&file, 0)?;
    let mut searcher = Searcher::new(DIM as u32, K, 0)?;
    let mut answers = Vec::new();
    searcher.search_batch(&file, &data.queries, |hits| answers.push(hits.to_vec()))?;
    let after = stats(&file, 0)?;
    require!(answers.len() == 200, "{} answers to 200 queries", answers.len());
    let counted = (after.searches - before.searches, after.distances - before.distances);
    require!(counted == (200, 200 * ROWS as u64), "200 queries are counted as {counted:?}");
    for (query, hits) in data.queries.chunks_exact(DIM).zip(&answers) {
        require!(
            *hits == nearest(&file, query, K)?,
            "a query is answered differently in a batch: {hits:?}"
        );
    }
    let mut bad = data.queries[..3 * DIM].to_vec();
    bad[2 * DIM] = f32::NAN;
    let refused = searcher.search_batch(&file, &bad, |_| ());
    expect_errno(refused, libc::EINVAL, "a batch with a query that is not finite")?;
    require!(stats(&file, 0)?.searches == after.searches + 200, "a refused batch is counted");
    Ok(())
}

fn stats_count(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base)?;
    let before = stats(&file, 0)?;
    for query in data.queries.chunks_exact(DIM) {
        nearest(&file, query, K)?;
    }
    let after = stats(&file, 0)?;
    let (searches, distances) =
        (after.searches - before.searches, after.distances - before.distances);
    require!(
        searches == 20 && distances == 20 * ROWS as u64,
        "20 queries over {ROWS} rows are counted as {searches} and {distances} distances"
    );
    require!(!after.engine().is_empty(), "the engine has no name");
    Ok(())
}
