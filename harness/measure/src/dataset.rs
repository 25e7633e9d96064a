//! The protocol's data: numpy's `seed(42)`, bit for bit, without numpy.
//!
//! ```python
//! numpy.random.seed(42)
//! base = numpy.random.rand(10_000, 128).astype(numpy.float32)
//! queries = numpy.random.rand(100, 128).astype(numpy.float32)
//! ```

use std::sync::OnceLock;

use evidence::protocol::PROTOCOL;
use machine::failure::Failure;
use machine::require;
use rand_mt::Mt;
use sha2::{Digest, Sha256};

/// SHA-256 of the protocol's base as little-endian f32, as numpy 2 produces it.
pub const BASE_SHA256: &str = "670c7af27ff4f3426cbb21ff557541f0d957aa72f8a3701eb8049958465c7652";
/// SHA-256 of the protocol's queries, drawn from the same stream after the base.
pub const QUERIES_SHA256: &str = "146689fea882258a63de5271c49616c4d50f6c07eb5b1945fbcb4b71ced42c4e";

/// numpy's legacy generator (`numpy.random.seed`, `RandomState`): MT19937. numpy's NEP 19 froze it,
/// so its stream is the same in every version.
#[derive(Clone)]
pub struct NumpyRandom(Mt);

impl NumpyRandom {
    /// The state after `numpy.random.seed(seed)`.
    pub fn new(seed: u32) -> Self {
        NumpyRandom(Mt::new(seed))
    }

    /// `numpy.random.random_sample()`: 53 random bits in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        let high = f64::from(self.0.next_u32() >> 5);
        let low = f64::from(self.0.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `numpy.random.rand(rows, dim).astype(numpy.float32)`, row after row.
    pub fn matrix(&mut self, rows: usize, dim: usize) -> Vec<f32> {
        (0..rows * dim).map(|_| self.uniform() as f32).collect()
    }
}

/// Rows and the queries for them.
#[derive(Clone)]
pub struct Dataset {
    /// Components of a row.
    pub dim: usize,
    /// The rows, one after the other.
    pub base: Vec<f32>,
    /// The queries, one after the other.
    pub queries: Vec<f32>,
    /// The stream after the queries.
    after: NumpyRandom,
}

impl Dataset {
    /// Rows and queries of `dim` components; `after` is the stream after the queries.
    pub(crate) fn new(dim: usize, base: Vec<f32>, queries: Vec<f32>, after: NumpyRandom) -> Self {
        Dataset { dim, base, queries, after }
    }

    /// Draws `rows` and then `queries` of `dim` components from the stream of `seed`.
    pub fn generate(seed: u32, rows: usize, dim: usize, queries: usize) -> Self {
        let mut random = NumpyRandom::new(seed);
        let base = random.matrix(rows, dim);
        let queries = random.matrix(queries, dim);
        Dataset::new(dim, base, queries, random)
    }

    /// The protocol's data, generated once and checked against numpy's digests.
    ///
    /// # Errors
    /// If a digest differs; results measured on such data could not be compared with anyone's.
    pub fn of_protocol() -> Result<&'static Dataset, Failure> {
        static DATASET: OnceLock<Result<Dataset, Failure>> = OnceLock::new();
        DATASET
            .get_or_init(|| {
                let p = PROTOCOL;
                let dataset = Dataset::generate(p.seed, p.rows, p.dim, p.queries);
                dataset.check_digests()?;
                Ok(dataset)
            })
            .as_ref()
            .map_err(Failure::clone)
    }

    /// Checks that this is the protocol's data.
    ///
    /// # Errors
    /// If it is not: which part differs, with both digests.
    pub fn check_digests(&self) -> Result<(), Failure> {
        for (name, values, expected) in
            [("base", &self.base, BASE_SHA256), ("queries", &self.queries, QUERIES_SHA256)]
        {
            let found = digest(values);
            require!(
                found == expected,
                "the {name} of the dataset ({} values) is not numpy's seed({}): SHA-256 {found}, \
                 expected {expected}",
                values.len(),
                PROTOCOL.seed
            );
        }
        Ok(())
    }

    /// Rows of the base.
    pub fn rows(&self) -> usize {
        self.base.len() / self.dim
    }

    /// Row `row` of the base.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.base[row * self.dim..(row + 1) * self.dim]
    }

    /// The next `count` queries of the stream, which no contender has seen.
    pub fn further_queries(&self, count: usize) -> Vec<f32> {
        self.after.clone().matrix(count, self.dim)
    }

    /// The stream after the queries and `count` further ones.
    pub fn stream_behind(&self, count: usize) -> NumpyRandom {
        let mut stream = self.after.clone();
        (0..count * self.dim).for_each(|_| {
            stream.uniform();
        });
        stream
    }
}

/// SHA-256 of values as little-endian f32, in hex.
pub fn digest(values: &[f32]) -> String {
    evidence::digest::hex(&Sha256::digest(bytes(values)))
}

/// Values as the bytes of a vector file: little-endian f32.
pub fn bytes(values: &[f32]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "vector files are little-endian") }
    // SAFETY: every byte of an f32 is a valid u8, and u8 has no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The values of a vector file.
///
/// # Errors
/// If the length is not a whole number of f32.
pub fn values(bytes: &[u8]) -> Result<Vec<f32>, Failure> {
    let (values, rest) = bytes.as_chunks();
    require!(
        rest.is_empty(),
        "{} bytes are not a whole number of f32 values; the vector file was cut short",
        bytes.len()
    );
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

/// Compares vectors that were read back with those that were stored, bit for bit.
///
/// # Errors
/// If the number of values differs, or a value does; the error names the first one and how many
/// differ.
pub fn compare(stored: &[f32], read_back: &[f32], dim: usize) -> Result<(), Failure> {
    require!(
        stored.len() == read_back.len(),
        "{} values were stored and {} came back (rows of {dim})",
        stored.len(),
        read_back.len()
    );
    let differs = |i: &usize| stored[*i].to_bits() != read_back[*i].to_bits();
    if let Some(first) = (0..stored.len()).find(differs) {
        let count = (first..stored.len()).filter(differs).count();
        machine::fail!(
            "{count} of {} values came back changed; the first is row {}, component {}: stored \
             {:e} ({:08x}), read {:e} ({:08x})",
            stored.len(),
            first / dim,
            first % dim,
            stored[first],
            stored[first].to_bits(),
            read_back[first],
            read_back[first].to_bits()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_data_has_numpys_digests() {
        let dataset = Dataset::of_protocol().unwrap();
        assert_eq!(dataset.rows(), PROTOCOL.rows);
        // numpy.random.seed(42); numpy.random.rand()
        assert_eq!(NumpyRandom::new(42).uniform(), 0.374_540_118_847_362_5);
    }

    #[rstest::rstest]
    #[case::another_seed(Dataset::generate(43, 10_000, 128, 100), "base")]
    #[case::a_query_less(Dataset::generate(42, 10_000, 128, 99), "queries")]
    fn other_data_is_refused(#[case] dataset: Dataset, #[case] part: &str) {
        let message = dataset.check_digests().unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn one_bit_is_seen() {
        let mut dataset = Dataset::of_protocol().unwrap().clone();
        let value = &mut dataset.base[640_000];
        *value = f32::from_bits(value.to_bits() ^ 1);
        assert!(dataset.check_digests().is_err());
        let original = &Dataset::of_protocol().unwrap().base;
        let message = compare(original, &dataset.base, 128).unwrap_err().to_string();
        assert!(message.starts_with("1 of 1280000 values") && message.contains("row 5000, "));
        assert!(compare(original, &dataset.base[128..], 128).is_err());
    }

    #[test]
    fn further_queries_are_further() {
        let short = Dataset::generate(7, 3, 4, 2);
        let long = Dataset::generate(7, 3, 4, 5);
        assert_eq!(short.further_queries(3), long.queries[2 * 4..]);
        assert_eq!(short.stream_behind(1).matrix(2, 4), long.queries[3 * 4..]);
    }

    #[test]
    fn bytes_and_back() {
        let data = [1.0f32, -0.0, f32::MIN_POSITIVE, 3.5e-40];
        assert_eq!(bytes(&data)[..4], [0, 0, 0x80, 0x3f]);
        let back = values(bytes(&data)).unwrap();
        compare(&data, &back, 2).unwrap();
        assert!(values(&bytes(&data)[1..]).is_err());
    }
}
