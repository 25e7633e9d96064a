//! The rule by which ratios are decided.
//!
//! The estimate is the median over rounds of ln(A/B), never a ratio of separate medians. Its
//! bounds are exact order statistics of the rounds: whatever their distribution, a median lies
//! below the j-th smallest of n rounds with probability P(Bin(n, 1/2) < j) (Conover, Practical
//! Nonparametric Statistics, 3rd ed., section 3.2).

use serde::{Deserialize, Serialize};

/// One-sided error of a bound at one look.
pub const ALPHA: f64 = 0.025;

/// What a ratio says about its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// The lower bound reaches the threshold.
    Pass,
    /// The upper bound stays below the threshold.
    Fail,
    /// The threshold lies between the bounds.
    Inconclusive,
}

/// A median with its bounds, in the unit of its values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The median.
    pub estimate: f64,
    /// Lower bound, one-sided error [`Interval::alpha`].
    pub lower: f64,
    /// Upper bound, one-sided error [`Interval::alpha`].
    pub upper: f64,
    /// Exact one-sided error of either bound, at most [`ALPHA`].
    pub alpha: f64,
}

impl Interval {
    /// `None` where the values are too few for a bound at [`ALPHA`] (fewer than 6) or one is not
    /// finite.
    #[must_use]
    pub fn of_median(values: &[f64]) -> Option<Interval> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let n = values.len();
        let (rank, alpha) = order_statistic(n, ALPHA)?;
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Interval {
            estimate: median_of_sorted(&sorted),
            lower: sorted[rank - 1],
            upper: sorted[n - rank],
            alpha,
        })
    }
}

/// A ratio of speeds, A over B, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// exp of the median of ln(A/B).
    pub estimate: f64,
    /// Lower bound, one-sided error [`Ratio::alpha`].
    pub lower: f64,
    /// Upper bound, one-sided error [`Ratio::alpha`].
    pub upper: f64,
    /// Rounds that it was computed from.
    pub rounds: usize,
    /// Exact one-sided error of either bound, at most [`ALPHA`].
    pub alpha: f64,
}

impl Ratio {
    /// From one ln(A/B) a round, A and B being speeds. `None` where the rounds are too few for
    /// a bound at [`ALPHA`] (fewer than 6) or one is not finite.
    #[must_use]
    pub fn of_rounds(log_ratios: &[f64]) -> Option<Ratio> {
        let logs = Interval::of_median(log_ratios)?;
        Some(Ratio {
            estimate: logs.estimate.exp(),
            lower: logs.lower.exp(),
            upper: logs.upper.exp(),
            rounds: log_ratios.len(),
            alpha: logs.alpha,
        })
    }

    /// Judges the ratio by `threshold`.
    #[must_use]
    pub fn outcome(&self, threshold: f64) -> Outcome {
        if self.lower >= threshold {
            Outcome::Pass
        } else if self.upper < threshold {
            Outcome::Fail
        } else {
            Outcome::Inconclusive
        }
    }
}

/// The largest rank j, from 1, for which P(Bin(n, 1/2) <= j - 1) <= `alpha`, and that
/// probability; `None` where not even the smallest value is a bound.
#[must_use]
pub fn order_statistic(n: usize, alpha: f64) -> Option<(usize, f64)> {
    let mut best = None;
    let mut cumulative = 0.0;
    // ln of the binomial coefficient, built up by its recurrence; exact enough for n in thousands.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    for j in 1..=n {
        cumulative += log_term.exp();
        if cumulative > alpha {
            break;
        }
        best = Some((j, cumulative));
        log_term += ((n - j + 1) as f64).ln() - (j as f64).ln();
    }
    best
}

/// The median of values in any order; `None` of none.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| median_of_sorted(&sorted))
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// Upper bound, one-sided error `alpha`, of a failure probability of which `trials` trials showed
/// none: 1 - alpha^(1/n), exactly (Clopper and Pearson, 1934).
#[must_use]
pub fn failure_rate_bound(trials: u32, alpha: f64) -> f64 {
    1.0 - alpha.powf(1.0 / f64::from(trials))
}

#[cfg(test)]
mod tests {
    use super::*;

    // P(Bin(n, 1/2) <= j - 1), summed exactly over whole numbers elsewhere.
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
    fn too_few_rounds_bound_nothing() {
        assert_eq!(order_statistic(5, ALPHA), None);
        assert_eq!(Ratio::of_rounds(&[0.1; 5]), None);
        assert_eq!(Ratio::of_rounds(&[0.1, 0.1, 0.1, 0.1, 0.1, f64::NAN]), None);
    }

    #[test]
    fn three_outcomes() {
        let logs: Vec<f64> = (0..20).map(|i| (2.0 + 0.01 * f64::from(i)).ln()).collect();
        let ratio = Ratio::of_rounds(&logs).unwrap();
        assert!((ratio.lower - 2.05).abs() < 1e-9);
        assert!((ratio.upper - 2.14).abs() < 1e-9);
        assert_eq!(ratio.outcome(2.05), Outcome::Pass);
        assert_eq!(ratio.outcome(2.1), Outcome::Inconclusive);
        assert_eq!(ratio.outcome(2.15), Outcome::Fail);
    }

    #[test]
    fn three_hundred_cycles_without_a_failure() {
        let bound = failure_rate_bound(300, 0.05);
        assert!(bound < 0.01 && bound > 0.0099, "{bound}");
    }

    /// Equal systems, independent noise: the bound passes falsely at its nominal rate at most.
    #[test]
    fn false_passes_stay_below_alpha() {
        let mut random = rand_mt::Mt::new(42);
        let mut uniform = || f64::from(random.next_u32()) / f64::from(u32::MAX) - 0.5;
        let runs = 20_000;
        let passes = (0..runs)
            .filter(|_| {
                let logs: Vec<f64> = (0..20).map(|_| uniform()).collect();
                Ratio::of_rounds(&logs).unwrap().outcome(1.0) == Outcome::Pass
            })
            .count();
        let rate = passes as f64 / f64::from(runs);
        // Nominal 0.0207; four standard errors of the simulation are 0.004.
        assert!((rate - 0.0207).abs() < 0.004, "{rate}");
    }
}
