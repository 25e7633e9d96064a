//! A ratio together with what its control says about the instrument.
//!
//! Each round measures A, B and a copy of A, which is as fast as A. Let ρ be the median of ln(A/B)
//! over rounds, δ that of ln(A/copy), and θ the ln of the true ratio. An instrument that favours
//! the place in which A runs (memory, caches, the order of the round) favours it in both: ρ = θ + β
//! and δ = β. An instrument that favours the copy's place gives ρ = θ and δ = -β. So θ lies between
//! ρ and ρ - δ. The latter is judged as the median of `r_i - d_i`, which in every round is
//! ln(copy/B): the copy takes A's place. The judged interval is the hull of both intervals.
//!
//! *One error for both.* Suppose that θ is at most the threshold. Then so is at least one of ρ and
//! ρ - δ, and its lower bound lies above the threshold with probability α at most. The lower bound
//! of the hull lies above the threshold only if both bounds do, so with no greater probability. No
//! part of α has to be set aside for the control, and it does not matter how the two depend on each
//! other (intersection-union test: R. L. Berger, "Multiparameter hypothesis testing and acceptance
//! sampling", Technometrics 24 (1982), 295-300). The same holds for the upper bound. Only the
//! medians of two distributions are used, as with every order statistic ([`super::Interval`]).
//!
//! *A control that excludes 1* has proven that the instrument has an error, and the sign of that
//! error in the ratio is then no longer taken for granted: `r_i + d_i`, with the sign reversed, is
//! judged as well. This adds one hypothesis to the same union, so α stays the same.

use libm::exp;
use serde::{Deserialize, Serialize};

use super::looks::Look;
use super::order::order_statistic;
use super::ratio::Ratio;

/// A ratio of speeds with its control, and the interval that follows from both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// A over B, by A's own rounds.
    pub alone: Ratio,
    /// A over B, with the copy in A's place.
    pub by_copy: Ratio,
    /// Control: A over its copy.
    pub equal: Ratio,
    /// A over B with the sign of the control's error reversed, if the control excludes 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turned: Option<Ratio>,
}

impl Calibrated {
    /// Computes the ratio at `look` from each round's ln(A/B) and ln(A/copy), which are logarithms
    /// of ratios of speeds. All bounds are widened by the factor `resolution` (1 leaves them
    /// alone). `None` if there are fewer rounds, or a value is not finite.
    pub fn at(
        log_ratios: &[f64],
        log_controls: &[f64],
        look: Look,
        resolution: f64,
    ) -> Option<Calibrated> {
        let (ratios, controls) = (log_ratios.get(..look.rounds)?, log_controls.get(..look.rounds)?);
        let of = |times: f64| -> Option<Ratio> {
            let logs: Vec<f64> = ratios.iter().zip(controls).map(|(r, d)| r - times * d).collect();
            Some(Ratio::at(&logs, look.alpha)?.wider_by(resolution))
        };
        let equal = Ratio::at(controls, look.alpha)?.wider_by(resolution);
        Some(Calibrated {
            alone: of(0.0)?,
            by_copy: of(1.0)?,
            equal,
            turned: if equal.contains_one() { None } else { Some(of(-1.0)?) },
        })
    }

    /// The estimate of A over B with the bounds that are judged: the hull of all intervals.
    pub fn judged(&self) -> Ratio {
        let with = self.alone.hull(&self.by_copy);
        self.turned.map_or(with, |turned| with.hull(&turned))
    }
}

/// Predicts from a few rounds by which factor the bounds of a ratio will differ from its estimate,
/// so that what a measurement can resolve is known before it is made.
///
/// The bounds of a median are the j-th order statistics from either end, which lie at the j/(n + 1)
/// quantile of the distribution. In a normal distribution of standard deviation s that is about s
/// √(2π) (1/2 - j/(n + 1)) from the middle. The hull adds the distance between the two medians,
/// which is 0.8 times 1.25 s/√n on average.
pub fn resolvable(spread_of_ratio: f64, spread_of_control: f64, look: Look) -> Option<f64> {
    let (rank, _) = order_statistic(look.rounds, look.alpha)?;
    let n = look.rounds as f64;
    let half = (0.5 - rank as f64 / (n + 1.0)) * (2.0 * std::f64::consts::PI).sqrt();
    Some(exp(spread_of_ratio * half + spread_of_control / n.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::super::LOOKS;
    use super::*;

    /// Twenty values around `middle`, 0.01 apart.
    fn around(middle: f64) -> Vec<f64> {
        (0..20).map(|i| middle + 0.01 * (f64::from(i) - 9.5)).collect()
    }

    fn at(ratio: f64, control: f64) -> Calibrated {
        // Rotate the control, so that the sums and differences have a spread, too.
        let mut controls = around(control);
        controls.rotate_left(7);
        Calibrated::at(&around(ratio), &controls, LOOKS[0], 1.0).unwrap()
    }

    #[test]
    fn a_copy_that_is_alike_widens_by_its_own_noise() {
        let found = at(1.0, 0.0);
        assert_eq!(found.turned, None);
        assert!(found.judged().lower <= found.alone.lower.min(found.by_copy.lower));
        assert_eq!(found.judged().estimate, found.alone.estimate);
    }

    #[test]
    fn a_copy_that_is_slower_takes_off_what_it_shows() {
        let found = at(0.2, 0.2);
        assert!(found.by_copy.contains_one() && found.judged().contains_one(), "{found:?}");
        assert!(!found.alone.contains_one());
    }

    #[test]
    fn a_proven_error_counts_in_either_direction() {
        let found = at(0.2, -0.2);
        assert!(found.alone.lower > 1.0 && found.by_copy.lower > 1.0, "{found:?}");
        assert!(found.turned.is_some_and(|turned| turned.contains_one()), "{found:?}");
        assert!(found.judged().contains_one());
    }

    #[test]
    fn the_clocks_resolution_widens_all() {
        let ratios = [0.003; 20];
        let found = Calibrated::at(&ratios, &[0.002; 20], LOOKS[0], 1.005).unwrap();
        assert!(found.equal.contains_one() && found.alone.contains_one(), "{found:?}");
        assert_eq!(found.turned, None);
    }

    #[test]
    fn rounds_that_are_missing_decide_nothing() {
        assert_eq!(Calibrated::at(&[0.0; 20], &[0.0; 19], LOOKS[0], 1.0), None);
        let mut controls = [0.0; 20];
        controls[3] = f64::NAN;
        assert_eq!(Calibrated::at(&[0.0; 20], &controls, LOOKS[0], 1.0), None);
    }

    #[test]
    fn more_rounds_resolve_more() {
        let resolved = LOOKS.map(|look| resolvable(0.2, 0.2, look).unwrap());
        assert!(resolved[0] > resolved[1] && resolved[1] > resolved[2], "{resolved:?}");
        assert!(resolved[0] > 1.1 && resolved[0] < 1.25, "{resolved:?}");
    }
}
