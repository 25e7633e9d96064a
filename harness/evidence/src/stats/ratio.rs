//! Ratios of speeds.

use std::fmt;

use libm::exp;
use serde::{Deserialize, Serialize};

use super::order::{ALPHA, Interval};

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
    /// Exact one-sided error of either bound, at most what was asked for.
    pub alpha: f64,
}

impl Ratio {
    /// As [`Ratio::at`] with [`ALPHA`], for which 6 rounds are enough.
    pub fn of_rounds(log_ratios: &[f64]) -> Option<Ratio> {
        Ratio::at(log_ratios, ALPHA)
    }

    /// Computes the ratio from each round's ln(A/B), where A and B are speeds. `None` if there are
    /// too few rounds for a bound at `alpha`, or a value is not finite.
    pub fn at(log_ratios: &[f64], alpha: f64) -> Option<Ratio> {
        let logs = Interval::of_median_at(log_ratios, alpha)?;
        Some(Ratio {
            estimate: exp(logs.estimate),
            lower: exp(logs.lower),
            upper: exp(logs.upper),
            rounds: log_ratios.len(),
            alpha: logs.alpha,
        })
    }

    /// The same estimate with bounds that are wider by a factor.
    pub fn wider_by(self, factor: f64) -> Ratio {
        Ratio { lower: self.lower / factor, upper: self.upper * factor, ..self }
    }

    /// The same estimate with bounds that cover both intervals.
    pub fn hull(&self, other: &Ratio) -> Ratio {
        let (lower, upper) = (self.lower.min(other.lower), self.upper.max(other.upper));
        Ratio { lower, upper, ..*self }
    }

    /// Judges the ratio by `threshold`.
    pub fn outcome(&self, threshold: f64) -> Outcome {
        if self.lower >= threshold {
            Outcome::Pass
        } else if self.upper < threshold {
            Outcome::Fail
        } else {
            Outcome::Inconclusive
        }
    }

    /// Whether 1 lies between the bounds: no difference was seen.
    pub fn contains_one(&self) -> bool {
        self.lower <= 1.0 && self.upper >= 1.0
    }
}

/// Writes the estimate and its bounds in the one format used everywhere. Precision and width apply
/// to each number.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (estimate, lower, upper) = (self.estimate, self.lower, self.upper);
        let (digits, width) = (f.precision().unwrap_or(3), f.width().unwrap_or(0));
        write!(f, "{estimate:width$.digits$} [{lower:width$.digits$}, {upper:width$.digits$}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn it_is_written_with_its_bounds() {
        let logs: Vec<f64> = (0..20).map(|i| (2.0 + 0.01 * f64::from(i)).ln()).collect();
        let ratio = Ratio::of_rounds(&logs).unwrap();
        assert_eq!(ratio.to_string(), "2.095 [2.050, 2.140]");
        assert_eq!(format!("{ratio:.1}"), "2.1 [2.0, 2.1]");
    }

    #[test]
    fn one_is_contained_or_not() {
        let around = |middle: f64| -> Ratio {
            let logs: Vec<f64> = (-10..10).map(|i| middle + 0.001 * f64::from(i)).collect();
            Ratio::of_rounds(&logs).unwrap()
        };
        assert!(around(0.0).contains_one());
        assert!(!around(0.05).contains_one() && !around(-0.05).contains_one());
    }
}
