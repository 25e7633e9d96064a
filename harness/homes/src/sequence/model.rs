//! The oracle: what the contract says about a vector file, as simply as possible. Bytes, rows, and
//! brute-force search.

use std::collections::BTreeSet;
use std::ops::Range;

use machine::failure::Failure;
use machine::{fail, require};
use vexfs_uapi::{Hit, Metric};

/// Relative error that a distance may have: sums of a few thousand terms in f32, in any order, are
/// well within it.
const TOLERANCE: f64 = 1e-4;
/// Additional error, as a share of the sum of the terms' magnitudes, because terms cancel
/// differently in f32 and f64.
const CANCELLED: f64 = 1e-5;

/// A file's bytes, as rows of `dim` components.
#[derive(Debug, Clone)]
pub struct Model {
    dim: usize,
    metric: Metric,
    bytes: Vec<u8>,
}

impl Model {
    /// An empty file.
    pub fn new(dim: usize, metric: Metric) -> Model {
        Model { dim, metric, bytes: Vec::new() }
    }

    /// The same rows, with distances by `metric`.
    pub fn by(self, metric: Metric) -> Model {
        Model { metric, ..self }
    }

    /// Components of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.dim * size_of::<f32>()
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of whole rows.
    pub fn rows(&self) -> usize {
        self.bytes.len() / self.row_bytes()
    }

    /// Row `row`, which must exist.
    pub fn row(&self, row: usize) -> Vec<f32> {
        let bytes = &self.bytes[row * self.row_bytes()..][..self.row_bytes()];
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// Writes `bytes` at `at`, with zeros before them if the file ended earlier, and returns the
    /// existing rows that have changed. Does nothing and returns `None` if that would leave a whole
    /// row with a component that is not finite.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Option<Range<usize>> {
        let end = at + bytes.len();
        let (length, rows) = (self.bytes.len(), self.rows());
        let before = self.bytes.get(at..end.min(length)).unwrap_or_default().to_vec();
        self.bytes.resize(length.max(end), 0);
        self.bytes[at..end].copy_from_slice(bytes);
        let touched = (at / self.row_bytes()).min(rows)..end.div_ceil(self.row_bytes());
        let whole = touched.start..touched.end.min(self.rows());
        if whole.clone().any(|row| self.row(row).iter().any(|value| !value.is_finite())) {
            self.bytes.truncate(length);
            if let Some(changed) = self.bytes.get_mut(at..at + before.len()) {
                changed.copy_from_slice(&before);
            }
            return None;
        }
        Some(whole.start..whole.end.min(rows).max(whole.start))
    }

    /// Truncates the file to `length` bytes, or extends it with zeros. Does nothing and returns
    /// `None` if the bytes after the last whole row would become a row that is not finite.
    pub fn set_len(&mut self, length: usize) -> Option<()> {
        let (before, rows) = (self.bytes.clone(), self.rows());
        self.bytes.resize(length, 0);
        let finite = (rows..self.rows()).all(|row| self.row(row).iter().all(|v| v.is_finite()));
        if !finite {
            self.bytes = before;
        }
        finite.then_some(())
    }

    /// Zeros the bytes of `range` that exist, and returns the rows that have changed.
    pub fn punch(&mut self, range: Range<usize>) -> Range<usize> {
        let end = range.end.min(self.bytes.len());
        let start = range.start.min(end);
        self.bytes[start..end].fill(0);
        let rows = self.rows();
        (start / self.row_bytes()).min(rows)..end.div_ceil(self.row_bytes()).min(rows)
    }

    /// The distance to a row, and by how much f32 may deviate from it.
    fn distance(&self, row: &[f32], query: &[f32]) -> (f64, f64) {
        let pairs = || row.iter().zip(query).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let dot: f64 = pairs().map(|(a, b)| a * b).sum();
        let sizes: f64 = pairs().map(|(a, b)| (a * b).abs()).sum();
        let (distance, cancelled) = match self.metric {
            Metric::L2 => {
                let distance = pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
                (distance, distance + f64::from(f32::MIN_POSITIVE))
            }
            Metric::InnerProduct => (-dot, sizes),
            Metric::Cosine => {
                let lengths = |values: &[f32]| -> f64 {
                    values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
                };
                let length = lengths(row) * lengths(query);
                // A vector without a direction has cosine 0 to everything.
                let cosine = if length > 0.0 { dot / length } else { 0.0 };
                (1.0 - cosine, 1.0)
            }
        };
        // Numbers too small for f32's full precision have no significant digits.
        let least = f64::from(f32::MIN_POSITIVE) * row.len() as f64;
        (distance, TOLERANCE * distance.abs() + CANCELLED * cancelled + least)
    }

    /// Checks that `hits` answer `query` for `k` rows: as many as are due, of existing rows, each
    /// once, at their distances, nearest first and equal ones ordered by row. If `exact`, they must
    /// be the nearest of all.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub fn check(&self, query: &[f32], k: usize, exact: bool, hits: &[Hit]) -> Result<(), Failure> {
        let rows = self.rows();
        let due = k.min(rows);
        require!(hits.len() == due, "{} hits where {due} of {rows} rows are expected", hits.len());
        let mut named = BTreeSet::new();
        for (rank, hit) in hits.iter().enumerate() {
            if hit.row >= rows as u64 {
                fail!("row {} is found, which is not there: the file has {rows} rows", hit.row);
            }
            require!(named.insert(hit.row), "row {} is found twice", hit.row);
            let said = f64::from(f32::from_bits(hit.distance));
            let (distance, tolerance) = self.distance(&self.row(hit.row as usize), query);
            let close = (said - distance).abs() <= tolerance;
            require!(close, "row {} is reported at distance {said}, expected {distance}", hit.row);
            let before = rank.checked_sub(1).map(|before| &hits[before]);
            let ordered = before.is_none_or(|last| {
                let (a, b) = (f32::from_bits(last.distance), f32::from_bits(hit.distance));
                a < b || a == b && last.row < hit.row
            });
            require!(ordered, "hit {rank}, row {}, is not in order", hit.row);
        }
        if let (true, Some(last)) = (exact, hits.last()) {
            let farthest = f64::from(f32::from_bits(last.distance));
            for row in (0..rows).filter(|&row| !named.contains(&(row as u64))) {
                let (distance, tolerance) = self.distance(&self.row(row), query);
                let no_nearer = distance + 2.0 * tolerance >= farthest;
                require!(
                    no_nearer,
                    "row {row} is left out: it is at {distance}, and the farthest of {k} found is \
                     at {farthest}"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn hit(row: u64, distance: f32) -> Hit {
        Hit { row, distance: distance.to_bits(), reserved: 0 }
    }

    fn three() -> Model {
        let mut model = Model::new(1, Metric::L2);
        assert_eq!(model.write(0, &bytes(&[0.0, 1.0, 3.0])), Some(0..0));
        model
    }

    #[test]
    fn changes_report_the_changed_rows() {
        let mut model = three();
        assert_eq!(model.write(6, &bytes(&[0.0])), Some(1..3));
        assert_eq!(model.write(8, &bytes(&[f32::NAN])), None);
        assert_eq!(model.rows(), 3);
        // Half a row may contain anything until the row is complete.
        assert_eq!(model.write(12, &bytes(&[f32::NAN])[2..]), Some(3..3));
        assert_eq!(model.write(14, &bytes(&[f32::NAN])[2..]), None);
        assert_eq!(model.bytes().len(), 14);
        assert_eq!(model.set_len(9), Some(()));
        assert_eq!(model.write(16, &bytes(&[7.0])), Some(2..2));
        assert_eq!((model.rows(), model.row(4)), (5, vec![7.0]));
        assert_eq!(model.punch(17..1000), 4..5);
        assert_eq!(model.row(4), [0.0]);
    }

    #[test]
    fn wrong_answers_are_reported() {
        let model = three();
        let says = |exact, hits: &[Hit]| {
            model.check(&[0.0], 2, exact, hits).err().map(|failure| failure.to_string())
        };
        assert_eq!(says(true, &[hit(0, 0.0), hit(1, 1.0)]), None);
        assert_eq!(says(false, &[hit(0, 0.0), hit(2, 9.0)]), None);
        let told = |exact, hits: &[Hit], words: &str| {
            let said = says(exact, hits).unwrap();
            assert!(said.contains(words), "{said}");
        };
        told(false, &[hit(0, 0.0)], "1 hits where 2");
        told(false, &[hit(0, 0.0), hit(3, 1.0)], "row 3 is found, which is not there");
        told(false, &[hit(0, 0.0), hit(0, 0.0)], "twice");
        told(false, &[hit(0, 0.0), hit(1, 1.1)], "is reported at distance");
        told(false, &[hit(1, 1.0), hit(0, 0.0)], "not in order");
        told(true, &[hit(0, 0.0), hit(2, 9.0)], "row 1 is left out");
    }
}
