//! The exact neighbours, found by brute force in f64, against which recall is measured.

use std::num::NonZero;
use std::thread;

use machine::failure::Failure;
use machine::require;

use crate::dataset::Dataset;

/// Rows whose squared distance exceeds the k-th by no more than this share of it also count as
/// neighbours, because f32 cannot tell them apart. In the protocol's data, the distances of the
/// 10th and the 11th neighbour differ by as little as 1.1e-6.
pub const TIE_TOLERANCE: f64 = 1e-6;

/// Relative error that a reported distance may have: sums of a few thousand squares in f32, in any
/// order, are well within it.
pub const DISTANCE_TOLERANCE: f64 = 1e-4;
/// Squared distances below this are compared as if they were this, because of cancellation in f32.
const NEAR_ZERO: f64 = 0.01;

/// The exact answers to a set of queries on a dataset.
pub struct Oracle<'a> {
    dataset: &'a Dataset,
    queries: &'a [f32],
    k: usize,
    /// For each query, the rows that count as its neighbours: k, or more if there are ties.
    neighbours: Vec<Vec<u64>>,
}

impl<'a> Oracle<'a> {
    /// Computes the `k` nearest rows of `dataset` to each of `queries`, by squared L2 distance.
    ///
    /// # Panics
    /// If the dataset has fewer than `k` rows, or `k` is 0.
    pub fn new(dataset: &'a Dataset, queries: &'a [f32], k: usize) -> Self {
        assert!((1..=dataset.rows()).contains(&k), "k = {k} of {} rows", dataset.rows());
        let queries_in_all = queries.len() / dataset.dim;
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = queries_in_all.div_ceil(threads).max(1) * dataset.dim;
        let neighbours = thread::scope(|scope| {
            let workers: Vec<_> = queries
                .chunks(share)
                .map(|part| scope.spawn(move || neighbours(dataset, part, k)))
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
        });
        Oracle { dataset, queries, k, neighbours }
    }

    /// The queries, one after the other.
    pub fn queries(&self) -> &'a [f32] {
        self.queries
    }

    /// How many queries there are.
    pub fn len(&self) -> usize {
        self.neighbours.len()
    }

    /// Whether there are no queries.
    pub fn is_empty(&self) -> bool {
        self.neighbours.is_empty()
    }

    /// The query with this number.
    pub fn query(&self, query: usize) -> &'a [f32] {
        let dim = self.dataset.dim;
        &self.queries[query * dim..(query + 1) * dim]
    }

    /// Recall@k of one answer: the share of the k neighbours that it names. A row that is named
    /// twice counts once; a row that does not exist and an empty place count as wrong.
    pub fn recall(&self, query: usize, ids: &[u64]) -> f64 {
        let mut named: Vec<u64> = ids.iter().copied().take(self.k).collect();
        named.sort_unstable();
        named.dedup();
        let right = named.iter().filter(|id| self.neighbours[query].contains(id)).count();
        right as f64 / self.k as f64
    }

    /// Mean recall@k of the answers to all queries.
    ///
    /// # Errors
    /// If there are not as many answers as queries.
    pub fn mean_recall<'i>(
        &self,
        answers: impl ExactSizeIterator<Item = &'i [u64]>,
    ) -> Result<f64, Failure> {
        let queries = self.neighbours.len();
        require!(
            answers.len() == queries,
            "{} answers to {queries} queries; every query needs its own",
            answers.len()
        );
        let sum: f64 = answers.enumerate().map(|(query, ids)| self.recall(query, ids)).sum();
        Ok(sum / queries as f64)
    }

    /// Checks that the distances of an answer are those of the rows that it names, within
    /// [`DISTANCE_TOLERANCE`], nearest first.
    ///
    /// # Errors
    /// The first wrong distance, or that the answer is not sorted.
    pub fn check_distances(
        &self,
        query: usize,
        ids: &[u64],
        distances: &[f32],
    ) -> Result<(), Failure> {
        require!(
            ids.len() == distances.len(),
            "query {query} was answered with {} rows and {} distances",
            ids.len(),
            distances.len()
        );
        let dim = self.dataset.dim;
        let vector = &self.queries[query * dim..(query + 1) * dim];
        for (&id, &distance) in ids.iter().zip(distances) {
            let rows = self.dataset.rows();
            require!(
                (id as usize) < rows,
                "query {query} was answered with row {id}, but there are only {rows} rows"
            );
            let exact = squared_l2(self.dataset.row(id as usize), vector);
            let error = (f64::from(distance) - exact).abs();
            // Not `error > …`: a NaN must not pass.
            let close = error <= DISTANCE_TOLERANCE * exact.max(NEAR_ZERO);
            require!(
                close,
                "query {query}: row {id} is reported at distance {distance}, but is at {exact:.6} \
                 (squared L2)"
            );
        }
        require!(
            distances.is_sorted(),
            "query {query} was not answered nearest first: {distances:?}"
        );
        Ok(())
    }
}

/// The neighbours of each of `queries`, nearest first.
fn neighbours(dataset: &Dataset, queries: &[f32], k: usize) -> Vec<Vec<u64>> {
    let mut distances = Vec::with_capacity(dataset.rows());
    queries
        .chunks_exact(dataset.dim)
        .map(|query| {
            distances.clear();
            let rows = dataset.base.chunks_exact(dataset.dim);
            distances.extend(rows.zip(0u64..).map(|(row, id)| (squared_l2(row, query), id)));
            let order = |a: &(f64, u64), b: &(f64, u64)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            let (_, &mut (kth, _), _) = distances.select_nth_unstable_by(k - 1, order);
            let limit = kth + kth * TIE_TOLERANCE;
            let mut near: Vec<_> = distances.iter().copied().filter(|&(d, _)| d <= limit).collect();
            near.sort_unstable_by(order);
            near.into_iter().map(|(_, id)| id).collect()
        })
        .collect()
}

/// Squared Euclidean distance; eight separate sums let the compiler use the machine's full vector
/// width.
fn squared_l2(a: &[f32], b: &[f32]) -> f64 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            let difference = f64::from(a[lane]) - f64::from(b[lane]);
            sums[lane] += difference * difference;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows 0, 1, 2 ... of one component; a query at 0.
    fn line(rows: usize) -> Dataset {
        let mut dataset = Dataset::generate(1, rows, 1, 1);
        dataset.base = (0..rows).map(|row| row as f32).collect();
        dataset.queries = vec![0.0];
        dataset
    }

    #[test]
    fn recall_counts_each_neighbour_once() {
        let dataset = line(50);
        let oracle = Oracle::new(&dataset, &dataset.queries, 4);
        assert_eq!(oracle.recall(0, &[0, 1, 2, 3]), 1.0);
        assert_eq!(oracle.recall(0, &[3, 0, 2, 1]), 1.0);
        assert_eq!(oracle.recall(0, &[0, 0, 0, 0]), 0.25);
        assert_eq!(oracle.recall(0, &[0, 1]), 0.5);
        assert_eq!(oracle.recall(0, &[0, 1, 2, 9999]), 0.75);
        // Only the first k count, so naming more rows than asked for does not help.
        assert_eq!(oracle.recall(0, &[9, 8, 7, 6, 0, 1, 2, 3]), 0.0);
        assert_eq!(oracle.recall(0, &[]), 0.0);
    }

    #[test]
    fn ties_within_the_tolerance_are_neighbours() {
        let mut dataset = line(5);
        dataset.base = vec![1.0, 2.0, 2.000_000_2, 2.1, 3.0];
        let oracle = Oracle::new(&dataset, &dataset.queries, 2);
        assert_eq!(oracle.recall(0, &[0, 1]), 1.0);
        assert_eq!(oracle.recall(0, &[0, 2]), 1.0);
        assert_eq!(oracle.recall(0, &[0, 3]), 0.5);
    }

    #[test]
    fn the_mean_needs_every_answer() {
        let dataset = Dataset::generate(3, 20, 4, 2);
        let oracle = Oracle::new(&dataset, &dataset.queries, 1);
        let right = [&oracle.neighbours[0][..1], &oracle.neighbours[1][..1]];
        assert_eq!(oracle.mean_recall(right.into_iter()).unwrap(), 1.0);
        assert_eq!(oracle.mean_recall([right[0], &[]].into_iter()).unwrap(), 0.5);
        assert!(oracle.mean_recall(right[..1].iter().copied()).is_err());
    }

    #[rstest::rstest]
    #[case::right(&[0, 2], &[0.0, 4.0], None)]
    #[case::distances_right_ids_wrong(&[0, 3], &[0.0, 4.0], Some("row 3 is reported"))]
    #[case::not_squared(&[0, 2], &[0.0, 2.0], Some("row 2 is reported"))]
    #[case::not_a_number(&[0], &[f32::NAN], Some("NaN"))]
    #[case::no_such_row(&[7000], &[1.0], Some("there are only 50 rows"))]
    #[case::farthest_first(&[2, 0], &[4.0, 0.0], Some("nearest first"))]
    #[case::one_missing(&[0, 2], &[0.0], Some("2 rows and 1 distances"))]
    fn distances_must_be_true(
        #[case] ids: &[u64],
        #[case] distances: &[f32],
        #[case] error: Option<&str>,
    ) {
        let dataset = line(50);
        let oracle = Oracle::new(&dataset, &dataset.queries, 4);
        match (oracle.check_distances(0, ids, distances), error) {
            (Ok(()), None) => {}
            (Err(failure), Some(part)) => assert!(failure.to_string().contains(part), "{failure}"),
            (result, _) => panic!("{result:?}"),
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_sorting_everything(seed in 0u32..1000, dim in 1usize..20, rows in 1usize..60) {
            let dataset = Dataset::generate(seed, rows, dim, 3);
            let k = rows.min(5);
            let oracle = Oracle::new(&dataset, &dataset.queries, k);
            for (query, found) in oracle.neighbours.iter().enumerate() {
                let vector = &dataset.queries[query * dim..(query + 1) * dim];
                let mut all: Vec<(f64, u64)> = (0..rows)
                    .map(|row| {
                        let terms = dataset.row(row).iter().zip(vector);
                        (terms.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum(), row as u64)
                    })
                    .collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0));
                let nearest: Vec<u64> = all[..k].iter().map(|&(_, row)| row).collect();
                proptest::prop_assert_eq!(&found[..k], &nearest[..]);
            }
        }
    }
}
