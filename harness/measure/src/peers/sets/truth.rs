//! The exact answers by any metric, and recall by distance.
//!
//! A row counts as a neighbour if it is as near as the k-th nearest, within the precision of f32.
//! So it does not matter which of many equal rows an answer names.

use std::num::NonZero;
use std::thread;

use evidence::protocol::Metric;
use machine::failure::Failure;
use machine::require;

use crate::dataset::Dataset;
use crate::oracle::TIE_TOLERANCE;

/// By which share of the product of both lengths two inner products may differ and still count as
/// equal: a few roundings of f32.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;

/// The exact answers to a set's queries.
pub struct Truth<'a> {
    dataset: &'a Dataset,
    metric: Metric,
    k: usize,
    /// The length of each row.
    lengths: Vec<f64>,
    /// For each query, the distance up to which a row counts as a neighbour.
    reach: Vec<f64>,
}

impl<'a> Truth<'a> {
    /// Computes for each query how far away its `k`-th nearest row is, on all processors.
    pub fn new(dataset: &'a Dataset, metric: Metric, k: usize) -> Self {
        let lengths = dataset.base.chunks_exact(dataset.dim).map(|row| dot(row, row).sqrt());
        let mut truth = Truth { dataset, metric, k, lengths: lengths.collect(), reach: Vec::new() };
        let queries = dataset.queries.len() / dataset.dim;
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = queries.div_ceil(threads).max(1);
        let starts: Vec<usize> = (0..queries).step_by(share).collect();
        truth.reach = thread::scope(|scope| {
            let truth = &truth;
            let reaches = |start: usize| {
                let part = start..(start + share).min(queries);
                scope.spawn(move || part.map(|query| truth.reach(query)).collect::<Vec<_>>())
            };
            let workers: Vec<_> = starts.into_iter().map(reaches).collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
        });
        truth
    }

    /// Mean recall@k, judged by distance, of answers to the first queries; each answer is a list of
    /// rows.
    pub fn recall<'i>(
        &self,
        answers: impl ExactSizeIterator<Item = &'i [u64]>,
    ) -> Result<f64, Failure> {
        let (count, dim) = (answers.len(), self.dataset.dim);
        let mut found = 0;
        for (query, ids) in answers.enumerate() {
            let vector = &self.dataset.queries[query * dim..(query + 1) * dim];
            let mut named: Vec<u64> = ids.iter().copied().take(self.k).collect();
            named.sort_unstable();
            named.dedup();
            for id in named {
                let rows = self.dataset.rows();
                require!(
                    (id as usize) < rows,
                    "query {query} was answered with row {id}, but there are only {rows} rows"
                );
                found += usize::from(self.distance(id as usize, vector) <= self.reach[query]);
            }
        }
        Ok(found as f64 / (count * self.k).max(1) as f64)
    }

    /// The distance up to which rows count as neighbours of a query.
    fn reach(&self, query: usize) -> f64 {
        let vector = &self.dataset.queries[query * self.dataset.dim..][..self.dataset.dim];
        let rows = self.dataset.rows();
        let mut distances: Vec<f64> = (0..rows).map(|row| self.distance(row, vector)).collect();
        let at = self.k.min(rows) - 1;
        let (_, &mut kth, _) = distances.select_nth_unstable_by(at, f64::total_cmp);
        let tie = match self.metric {
            Metric::L2 => kth * TIE_TOLERANCE,
            // Uses the longest row, because it is not known here which row is the k-th.
            Metric::InnerProduct => {
                let longest = self.lengths.iter().copied().fold(0.0, f64::max);
                dot(vector, vector).sqrt() * longest * ROUNDING
            }
            Metric::Cosine => ROUNDING,
        };
        kth + tie
    }

    /// A distance that is smaller for nearer rows: squared L2, the negated inner product, or one
    /// minus the cosine. A row of length 0 has cosine 0 to every query.
    fn distance(&self, row: usize, query: &[f32]) -> f64 {
        let vector = self.dataset.row(row);
        match self.metric {
            Metric::L2 => sum(vector, query, |a, b| (a - b) * (a - b)),
            Metric::InnerProduct => -dot(vector, query),
            Metric::Cosine => {
                let lengths = self.lengths[row] * dot(query, query).sqrt();
                if lengths > 0.0 { 1.0 - dot(vector, query) / lengths } else { 1.0 }
            }
        }
    }
}

/// Adds up in eight separate sums, which the processor can compute in parallel.
fn sum(a: &[f32], b: &[f32], of: impl Fn(f64, f64) -> f64) -> f64 {
    let (a_eights, a_rest) = a.as_chunks::<8>();
    let (b_eights, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a_eights.iter().zip(b_eights) {
        for lane in 0..8 {
            sums[lane] += of(f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| of(f64::from(a), f64::from(b)));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| a * b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::NumpyRandom;
    use crate::peers::engine::Engine;

    fn dataset(base: &[f32], queries: &[f32]) -> Dataset {
        Dataset::new(2, base.to_vec(), queries.to_vec(), NumpyRandom::new(0))
    }

    fn recall(truth: &Truth<'_>, ids: &[u64]) -> f64 {
        truth.recall([ids].into_iter()).unwrap()
    }

    #[test]
    fn any_of_equal_rows_will_do() {
        let data = dataset(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 5.0, 0.0], &[0.0, 0.0]);
        let truth = Truth::new(&data, Metric::L2, 2);
        assert_eq!(recall(&truth, &[0, 1]), 1.0);
        assert_eq!(recall(&truth, &[2, 1]), 1.0);
        assert_eq!(recall(&truth, &[2, 2]), 0.5);
        assert_eq!(recall(&truth, &[2, 3]), 0.5);
        assert_eq!(recall(&truth, &[]), 0.0);
        assert!(truth.recall([&[4][..]].into_iter()).is_err());
    }

    #[test]
    fn each_metric_has_its_nearest() {
        // The nearest row, the row with the largest inner product, and the row in the same
        // direction.
        let data = dataset(&[1.0, 1.5, 9.0, 20.0, 0.1, 0.1, 0.0, 0.0], &[1.0, 1.0]);
        for (metric, nearest) in [(Metric::L2, 0), (Metric::InnerProduct, 1), (Metric::Cosine, 2)] {
            let truth = Truth::new(&data, metric, 1);
            let right: Vec<u64> = (0..4).filter(|&id| recall(&truth, &[id]) == 1.0).collect();
            assert_eq!(right, [nearest], "{metric:?}");
        }
    }

    #[test]
    fn the_engines_exact_search_finds_all() {
        let data = Dataset::generate(3, 500, 24, 20);
        for (metric, by) in [
            (Metric::L2, vexfs_uapi::Metric::L2),
            (Metric::InnerProduct, vexfs_uapi::Metric::InnerProduct),
            (Metric::Cosine, vexfs_uapi::Metric::Cosine),
        ] {
            let mut flat = Engine::by(by, vexfs_uapi::Kind::Flat, &[], &data, 10).unwrap();
            flat.round(0, flat.queries()).unwrap();
            let answers = flat.answers();
            let ids = answers.iter().map(|answer| &answer.ids[..]);
            assert_eq!(Truth::new(&data, metric, 10).recall(ids).unwrap(), 1.0, "{metric:?}");
        }
    }
}
