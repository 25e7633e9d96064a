//! Rows in clusters, like embeddings, on which graphs and lists can show what they are worth.
//!
//! Cluster c of 1,000 has a centre, uniform in [0, 1)^dim, and a spread of its own for every
//! component, `SPREAD * u^2` with u uniform in [0, 1): about 46 of 128 components' worth of
//! freedom. Rows and queries fall into cluster c with a probability proportional to 1/c (Zipf): the
//! largest holds an eighth of the rows, the smallest about 13 of 100,000. Around its centre, a
//! component is normally distributed except for the tails: it is the sum of four uniform numbers,
//! scaled to variance 1.
//!
//! Only operations that IEEE 754 defines exactly are used, on one stream of MT19937 numbers, so the
//! same seed gives the same data everywhere.

use crate::dataset::{Dataset, NumpyRandom};

/// The sizes and the seed of the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clustered {
    /// Rows of the base.
    pub rows: usize,
    /// Components of a row.
    pub dim: usize,
    /// Queries, from the same clusters.
    pub queries: usize,
    /// Seed of the stream.
    pub seed: u32,
}

const CLUSTERS: usize = 1_000;
/// Largest spread of a component around its centre. The centres' own spread is 0.29, so clusters
/// overlap in the components that spread most, and rows have near neighbours in other clusters.
const SPREAD: f64 = 0.6;

impl Clustered {
    /// Draws centres, spreads, rows and queries, in this order.
    pub fn generate(&self) -> Dataset {
        let mut random = NumpyRandom::new(self.seed);
        let values = CLUSTERS * self.dim;
        let centres: Vec<f64> = (0..values).map(|_| random.uniform()).collect();
        let spreads: Vec<f64> = (0..values)
            .map(|_| {
                let u = random.uniform();
                SPREAD * u * u
            })
            .collect();
        let mut total = 0.0;
        let shares: Vec<f64> = (1..=CLUSTERS)
            .map(|rank| {
                total += 1.0 / rank as f64;
                total
            })
            .collect();
        let mut draw = |rows: usize| {
            let mut drawn = Vec::with_capacity(rows * self.dim);
            for _ in 0..rows {
                let at = random.uniform() * total;
                let cluster = shares.partition_point(|&share| share <= at).min(CLUSTERS - 1);
                let of_cluster = cluster * self.dim..(cluster + 1) * self.dim;
                let components = centres[of_cluster.clone()].iter().zip(&spreads[of_cluster]);
                drawn.extend(components.map(|(c, s)| (c + s * near_normal(&mut random)) as f32));
            }
            drawn
        };
        let (base, queries) = (draw(self.rows), draw(self.queries));
        Dataset::new(self.dim, base, queries, random)
    }
}

/// Mean 0, variance 1: the sum of four uniform numbers has mean 2 and variance 1/3.
fn near_normal(random: &mut NumpyRandom) -> f64 {
    let sum: f64 = (0..4).map(|_| random.uniform()).sum();
    (sum - 2.0) * 3f64.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::digest;

    const SMALL: Clustered = Clustered { rows: 300, dim: 16, queries: 20, seed: 42 };

    #[test]
    fn the_same_seed_gives_the_same_data_on_every_machine() {
        let data = SMALL.generate();
        assert_eq!((data.rows(), data.queries.len()), (300, 20 * 16));
        assert_eq!(
            [digest(&data.base), digest(&data.queries)],
            [
                "c3ebbfb40f88b746a03c62b834877e1f87524232ebfafc597684eb9c13a8f975",
                "7f0fe7c32ade5cbf51e45751ec523907be7f06089600da173584f2306b6cd38a",
            ]
        );
        let other = Clustered { seed: 43, ..SMALL }.generate();
        assert_ne!(data.base, other.base);
    }

    #[test]
    fn rows_are_in_clusters() {
        // In clusters the nearest row is far nearer than the average one; uniform rows in many
        // components are all about equally far away.
        let data = Clustered { rows: 2_000, dim: 64, ..SMALL }.generate();
        let query = &data.queries[..64];
        let distance = |row: &[f32]| -> f32 {
            row.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
        };
        let distances: Vec<f32> = data.base.chunks_exact(64).map(distance).collect();
        let mean = distances.iter().sum::<f32>() / distances.len() as f32;
        let nearest = distances.iter().copied().fold(f32::INFINITY, f32::min);
        assert!(nearest > 0.0 && nearest < 0.75 * mean, "{nearest} of {mean}");
    }

    #[test]
    fn noise_has_mean_0_and_variance_1() {
        let mut random = NumpyRandom::new(5);
        let noise: Vec<f64> = (0..100_000).map(|_| near_normal(&mut random)).collect();
        let mean = noise.iter().sum::<f64>() / noise.len() as f64;
        let variance = noise.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
