//! Medians and their exact bounds.
//!
//! Whatever the distribution of n independent values, their median lies below the j-th smallest
//! of them with probability P(Bin(n, 1/2) < j) (Conover, Practical Nonparametric Statistics, 3rd
//! ed., section 3.2).

use libm::{exp, log, pow};
use serde::{Deserialize, Serialize};

/// One-sided error of a bound that is computed once.
pub const ALPHA: f64 = 0.025;

/// A median with its bounds, in the unit of its values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The median.
    pub estimate: f64,
    /// Lower bound, one-sided error [`Interval::alpha`].
    pub lower: f64,
    /// Upper bound, one-sided error [`Interval::alpha`].
    pub upper: f64,
    /// Exact one-sided error of either bound, at most what was asked for.
    pub alpha: f64,
}

impl Interval {
    /// As [`Interval::of_median_at`] with [`ALPHA`], for which 6 values are enough.
    pub fn of_median(values: &[f64]) -> Option<Interval> {
        Interval::of_median_at(values, ALPHA)
    }

    /// `None` if there are too few values for a bound at `alpha`, or one is not finite.
    pub fn of_median_at(values: &[f64], alpha: f64) -> Option<Interval> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let n = values.len();
        let (rank, alpha) = order_statistic(n, alpha)?;
        let sorted = sorted(values);
        Some(Interval {
            estimate: median_of_sorted(&sorted),
            lower: sorted[rank - 1],
            upper: sorted[n - rank],
            alpha,
        })
    }
}

/// The largest rank j, from 1, for which P(Bin(n, 1/2) <= j - 1) <= `alpha`, and that probability;
/// `None` if not even the smallest value is a bound.
pub fn order_statistic(n: usize, alpha: f64) -> Option<(usize, f64)> {
    let mut best = None;
    let mut cumulative = 0.0;
    // ln of the binomial coefficient, built up by its recurrence; exact enough for n in thousands.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    for j in 1..=n {
        cumulative += exp(log_term);
        if cumulative > alpha {
            break;
        }
        best = Some((j, cumulative));
        log_term += log((n - j + 1) as f64) - log(j as f64);
    }
    best
}

/// The median of values in any order; `None` if there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| median_of_sorted(&sorted(values)))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// Upper bound of a failure probability after `trials` trials without a failure: 1 - alpha^(1/n),
/// exact, with one-sided error `alpha` (Clopper and Pearson, 1934).
pub fn failure_rate_bound(trials: u32, alpha: f64) -> f64 {
    1.0 - pow(alpha, 1.0 / f64::from(trials))
}

#[cfg(test)]
mod tests {
    use super::*;

    // P(Bin(n, 1/2) <= j - 1), computed elsewhere with exact integer sums.
    #[rstest::rstest]
    #[case(20, 6, 0.020_694_7)]
    #[case(60, 22, 0.013_670_1)]
    #[case(6, 1, 0.015_625)]
    #[case(200, 86, 0.020_018_6)]
    fn ranks_are_those_of_the_tables(#[case] n: usize, #[case] rank: usize, #[case] error: f64) {
        let (found, alpha) = order_statistic(n, ALPHA).unwrap();
        assert_eq!(found, rank);
        assert!((alpha - error).abs() < 1e-6, "{alpha}");
    }

    #[test]
    fn too_few_values_bound_nothing() {
        assert_eq!(order_statistic(5, ALPHA), None);
        assert_eq!(Interval::of_median(&[0.1; 5]), None);
        assert_eq!(Interval::of_median(&[0.1, 0.1, 0.1, 0.1, 0.1, f64::NAN]), None);
    }

    #[test]
    fn medians_of_even_and_odd_numbers() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn three_hundred_cycles_without_a_failure() {
        let bound = failure_rate_bound(300, 0.05);
        assert!(bound < 0.01 && bound > 0.0099, "{bound}");
    }
}
