//! What a measurement says: its ratio at the last look, and whether its controls hold.

use std::fmt;

use evidence::clock::{Clock, REPRODUCIBLE_TO};
use evidence::protocol::SLOWED_BY;
use evidence::stats::{Bootstrap, LOOKS, Look, Outcome, Ratio, bootstrap_of_median, look};
use evidence::thresholds::Rule;
use evidence::{Controls, Measurement, Round};
use libm::exp;

use super::soundness;

/// By how much longer queries that were never asked before may take than the others. What is
/// answered from memory takes a small part of the time of a search.
pub const UNSEEN_SLOWER: f64 = 3.0;

/// Beyond what a copy that is slowed down by [`SLOWED_BY`] cannot have been. It waits for that part
/// of what each operation took, and reading the clock makes the wait longer by less than a
/// microsecond, a hundredth of the shortest operation here. Three times the part leaves room for
/// noise, and none for a copy that was slowed down until a blunt measurement saw it.
pub const SLOWED_PLAUSIBLY: f64 = 1.0 + 3.0 * SLOWED_BY;

/// A measurement at its last look.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Speed of A over speed of B. Its bounds, as those of the others, are wider than the rounds say
    /// by what its clock does not resolve.
    pub ratio: Ratio,
    /// Speed of A over speed of its copy: 1 must lie between the bounds.
    pub equal: Ratio,
    /// Speed of the copy over that of the slowed copy: the bounds must be above 1, and not all of
    /// them above [`SLOWED_PLAUSIBLY`].
    pub slowed: Ratio,
    /// Time of queries never asked before over that of the others, of A and of B, where queries
    /// were timed: the lower bound must not be above [`UNSEEN_SLOWER`].
    pub unseen: [Option<Ratio>; 2],
    threshold: f64,
    strictly: bool,
    /// ln of A's speed over B's, one a round.
    logs: Vec<f64>,
}

impl Decision {
    /// As [`Decision::of`], where the rounds are the work that `rule` measures, in a place whose CPU
    /// is emulated or not.
    ///
    /// # Errors
    /// As there, and samples, recalls or unseen queries that are missing.
    pub fn by(rule: &Rule, emulated: bool, measurement: &Measurement) -> Result<Decision, String> {
        let decision = Decision::of(measurement)?;
        soundness::of_work(rule, emulated, measurement)?;
        Ok(decision)
    }

    /// Decides on the measurement's rounds, all of which are looked at: for the trial that made
    /// them as for the verdict, so that none makes what the other refuses.
    ///
    /// # Errors
    /// Why it decides nothing: rounds that are not the protocol's or not those of a preset look,
    /// rounds without controls, or a look before that had decided already.
    pub fn of(measurement: &Measurement) -> Result<Decision, String> {
        soundness::of_passes(measurement)?;
        let rounds: Vec<&Round> = measurement.counted().collect();
        let Some(last) = LOOKS.iter().position(|at| at.rounds == rounds.len()) else {
            let preset = LOOKS.map(|at| at.rounds.to_string()).join(", ");
            return Err(format!("{} rounds, where the preset looks are at {preset}", rounds.len()));
        };
        for &earlier in &LOOKS[..last] {
            if Decision::at(&rounds, earlier, measurement)?.is_final() {
                return Err(format!(
                    "it went on to {} rounds though {} had decided",
                    rounds.len(),
                    earlier.rounds
                ));
            }
        }
        Decision::at(&rounds, LOOKS[last], measurement)
    }

    fn at(rounds: &[&Round], at: Look, measurement: &Measurement) -> Result<Decision, String> {
        let (threshold, strictly) = (measurement.threshold, measurement.strictly);
        let controls = |of: fn(&Round, &Controls) -> f64| -> Result<Vec<f64>, String> {
            let log = |round: &&Round| Some(of(round, round.controls.as_ref()?));
            let logs: Option<Vec<f64>> = rounds.iter().map(log).collect();
            logs.ok_or_else(|| "a round has no controls".to_owned())
        };
        let ratio = |logs: &[f64]| {
            look(logs, at, threshold)
                .map(|looked| resolved(looked.ratio, measurement.clock))
                .ok_or_else(|| "a round has a time that is none".to_owned())
        };
        let unseen = |of: fn(&Round, &Controls) -> Option<f64>| -> Result<Option<Ratio>, String> {
            let log = |round: &&Round| of(round, round.controls.as_ref()?);
            let logs: Vec<f64> = rounds.iter().filter_map(log).collect();
            match logs.len() {
                0 => Ok(None),
                some if some == rounds.len() => ratio(&logs).map(Some),
                _ => Err("some rounds have no unseen queries".to_owned()),
            }
        };
        let logs: Vec<f64> = rounds.iter().map(|round| round.log_ratio()).collect();
        Ok(Decision {
            ratio: ratio(&logs)?,
            equal: ratio(&controls(|round, controls| controls.log_equal(&round.a_ns))?)?,
            slowed: ratio(&controls(|_, controls| controls.log_slowed())?)?,
            unseen: [
                unseen(|round, one| Controls::log_unseen(&one.a_unseen_ns, &round.a_ns))?,
                unseen(|round, one| Controls::log_unseen(&one.b_unseen_ns, &round.b_ns))?,
            ],
            threshold,
            strictly,
            logs: logs[..at.rounds].to_vec(),
        })
    }

    /// Why the controls do not hold.
    #[must_use]
    pub fn controls_fail(&self) -> Option<String> {
        if !self.equal.contains_one() {
            let ratio = self.equal;
            return Some(format!("control: A against a copy of A gave {ratio}, which is not 1"));
        }
        if self.slowed.lower <= 1.0 {
            let ratio = self.slowed;
            return Some(format!("control: a copy slowed down by 5 % was not found ({ratio})"));
        }
        if self.slowed.lower > SLOWED_PLAUSIBLY {
            let ratio = self.slowed;
            return Some(format!(
                "control: a copy slowed down by 5 % was {ratio} times as slow, which is not 5 %"
            ));
        }
        for (side, unseen) in ["A", "B"].into_iter().zip(self.unseen) {
            if let Some(Ratio { estimate, lower, .. }) = unseen
                && lower > UNSEEN_SLOWER
            {
                return Some(format!(
                    "control: {side} takes {estimate:.1} times as long (at least {lower:.1}) for \
                     queries that it was never asked before: not authentic"
                ));
            }
        }
        None
    }

    /// The bootstrap's bounds of the same ratio, which decide nothing.
    #[must_use]
    pub fn bootstrap(&self) -> Option<Bootstrap> {
        let Bootstrap { lower, upper } = bootstrap_of_median(&self.logs, self.ratio.alpha)?;
        Some(Bootstrap { lower: exp(lower), upper: exp(upper) })
    }

    /// What it says about the threshold; nothing where a control fails.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.controls_fail() {
            None => match self.ratio.outcome(self.threshold) {
                Outcome::Pass if self.strictly && self.ratio.lower <= self.threshold => {
                    Outcome::Inconclusive
                }
                outcome => outcome,
            },
            Some(_) => Outcome::Inconclusive,
        }
    }

    /// Whether A may be called faster than B: the lower bound is above 1. Not inferior is less.
    #[must_use]
    pub fn is_improvement(&self) -> bool {
        self.controls_fail().is_none() && self.ratio.lower > 1.0
    }

    /// Whether no further look is due.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.outcome() != Outcome::Inconclusive
    }
}

/// A ratio whose bounds are wider by what `clock` does not resolve. On guest instructions there is
/// next to no noise that would widen them, and what lies elsewhere in memory makes as much of a
/// difference as this.
fn resolved(ratio: Ratio, clock: Clock) -> Ratio {
    let by = match clock {
        Clock::Wall => 1.0,
        Clock::Instructions => 1.0 + REPRODUCIBLE_TO,
    };
    Ratio { lower: ratio.lower / by, upper: ratio.upper * by, ..ratio }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} against {}", self.ratio, self.threshold)?;
        write!(f, " after {} rounds: {:?}", self.ratio.rounds, self.outcome())?;
        if self.is_improvement() {
            write!(f, ", an improvement")?;
        }
        self.controls_fail().map_or(Ok(()), |why| write!(f, "; {why}"))
    }
}

#[cfg(test)]
mod tests;
