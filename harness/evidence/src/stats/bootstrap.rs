//! The bootstrap interval that stands beside the exact one (Efron, 1979: percentiles of resampled
//! medians).

use rand_mt::Mt;
use serde::{Deserialize, Serialize};

use super::order::median;

/// How often an interval's values are resampled.
const RESAMPLES: usize = 2_000;
/// A fixed seed: the same samples give the same interval on every machine.
const SEED: u32 = 42;

/// Percentiles of resampled medians, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The `alpha` quantile.
    pub lower: f64,
    /// The `1 - alpha` quantile.
    pub upper: f64,
}

/// Resamples `values` with replacement in blocks of two neighbours, since neighbouring rounds
/// depend on each other. `None` for fewer than two values.
pub fn bootstrap_of_median(values: &[f64], alpha: f64) -> Option<Bootstrap> {
    bootstrap(values, 2, alpha, median)
}

/// Resamples independent `values` and takes their means, e.g. the recall of each query. `None` for
/// no values.
pub fn bootstrap_of_mean(values: &[f64], alpha: f64) -> Option<Bootstrap> {
    bootstrap(values, 1, alpha, |values| Some(values.iter().sum::<f64>() / values.len() as f64))
}

fn bootstrap(
    values: &[f64],
    block: usize,
    alpha: f64,
    statistic: impl Fn(&[f64]) -> Option<f64>,
) -> Option<Bootstrap> {
    let blocks: Vec<&[f64]> = values.chunks_exact(block).collect();
    if blocks.is_empty() {
        return None;
    }
    let mut random = Mt::new(SEED);
    let mut found: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let drawn = (0..blocks.len())
                .flat_map(|_| blocks[random.next_u32() as usize % blocks.len()].iter().copied());
            statistic(&drawn.collect::<Vec<f64>>())
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let at = |quantile: f64| found[((RESAMPLES - 1) as f64 * quantile).round() as usize];
    Some(Bootstrap { lower: at(alpha), upper: at(1.0 - alpha) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_brackets_the_median_and_is_repeatable() {
        let values: Vec<f64> = (0..40).map(|i| f64::from((i * 17) % 40)).collect();
        let interval = bootstrap_of_median(&values, 0.021).unwrap();
        assert!(interval.lower < 19.5 && interval.upper > 19.5, "{interval:?}");
        assert!(interval.lower > 5.0 && interval.upper < 34.0, "{interval:?}");
        assert_eq!(bootstrap_of_median(&values, 0.021), Some(interval));
        assert_eq!(bootstrap_of_median(&[1.0], 0.021), None);
    }

    #[test]
    fn the_error_of_a_mean_is_its_standard_error() {
        // Half zeros and half ones: 1.96 standard errors of 400 are 0.049.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let Bootstrap { lower, upper } = bootstrap_of_mean(&values, 0.025).unwrap();
        assert!((0.5 - lower - 0.049).abs() < 0.01, "{lower}");
        assert!((upper - 0.5 - 0.049).abs() < 0.01, "{upper}");
    }
}
