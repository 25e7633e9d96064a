//! Group-sequential looks: deciding a ratio early without a larger error.
//!
//! A measurement that is undecided goes on. Each look is one more chance to be wrong, so their
//! number is fixed in advance and they share one error (Bonferroni: the chance that any look errs
//! is at most the sum of their errors, even if they depend on each other).
//!
//! Order statistics assume independent rounds, and neighbouring rounds are not quite independent.
//! So the looks together use 0.041 of the stated 0.05. Simulated with an autocorrelation of 0.7, as
//! seen on shared machines, the real error is 0.036 at most (`harness/criteria/tests/rule.rs`).

use super::ratio::{Outcome, Ratio};

/// One look: after how many rounds, and with what one-sided error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Rounds that count; warm-ups do not.
    pub rounds: usize,
    /// Its share of the error.
    pub alpha: f64,
}

/// The stated one-sided error of a measurement over all its looks.
pub const ALPHA_OF_LOOKS: f64 = 0.05;

/// The fixed looks. The first has the published protocol's 20 rounds and the largest share of the
/// error, because most measurements end there.
pub const LOOKS: [Look; 3] = [
    Look { rounds: 20, alpha: 0.021 },
    Look { rounds: 60, alpha: 0.010 },
    Look { rounds: 200, alpha: 0.010 },
];

const _: () = assert!(LOOKS[0].alpha + LOOKS[1].alpha + LOOKS[2].alpha < ALPHA_OF_LOOKS);

/// What was seen at a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Looked {
    /// The ratio of the rounds up to the look.
    pub ratio: Ratio,
    /// What it says about the threshold.
    pub outcome: Outcome,
}

/// The ratio of the first rounds of `log_ratios`, as many as `look` asks for. `None` if there are
/// fewer, or one is not finite.
pub fn look(log_ratios: &[f64], look: Look, threshold: f64) -> Option<Looked> {
    let ratio = Ratio::at(log_ratios.get(..look.rounds)?, look.alpha)?;
    Some(Looked { ratio, outcome: ratio.outcome(threshold) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_look_takes_its_own_rank() {
        let logs: Vec<f64> = (0..200).map(f64::from).map(|i| i / 1e4).collect();
        let errors = LOOKS.map(|at| look(&logs, at, 1.0).unwrap().ratio.alpha);
        // P(Bin(20, 1/2) <= 5), P(Bin(60, 1/2) <= 20), P(Bin(200, 1/2) <= 83).
        let exact = [0.020_694_7, 0.006_744_6, 0.009_698_5];
        for (error, exact) in errors.iter().zip(exact) {
            assert!((error - exact).abs() < 1e-6, "{errors:?}");
        }
        assert!(errors.iter().sum::<f64>() <= ALPHA_OF_LOOKS);
    }

    #[test]
    fn a_look_needs_its_rounds() {
        assert_eq!(look(&[0.0; 59], LOOKS[1], 1.0), None);
        assert!(look(&[0.0; 61], LOOKS[1], 1.0).is_some());
    }
}
