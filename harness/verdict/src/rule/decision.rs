//! What a measurement says: its ratio at the last look, and whether its controls hold.

use std::fmt;

use evidence::clock::{Clock, REPRODUCIBLE_TO};
use evidence::protocol::SLOWED_BY;
use evidence::stats::{Bootstrap, Calibrated, LOOKS, Look, Outcome, Ratio, bootstrap_of_median};
use evidence::thresholds::Rule;
use evidence::{Controls, Measurement, Round};
use libm::exp;

use super::soundness;

/// By how much longer queries that were never asked before may take than the others. What is
/// answered from memory takes a small part of the time of a search.
pub const UNSEEN_SLOWER: f64 = 3.0;

/// What a copy that is slowed down by [`SLOWED_BY`] is slower by at least. It waits for that part of
/// what each operation took.
pub const SLOWED_AT_LEAST: f64 = 1.0 + SLOWED_BY;

/// And at most: reading the clock makes the wait longer by less than a microsecond, a hundredth of
/// the shortest operation here.
pub const SLOWED_AT_MOST: f64 = SLOWED_AT_LEAST + 0.01;

/// How far from that a sharp interval may lie: nearer to it than to nothing at all, and to twice as
/// much. What is off by less is an error of the instrument, for which the ratio must have room.
pub const SLOWED_OFF_BY: f64 = SLOWED_BY / 2.0;

/// A measurement at its last look.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Speed of A over speed of B: A's own estimate, with the bounds that are judged, which are
    /// those of the ratio and of its controls together. They, as those of the others, are wider than
    /// the rounds say by what its clock does not resolve.
    pub ratio: Ratio,
    /// What the ratio and its control are by themselves.
    pub calibrated: Calibrated,
    /// Speed of the copy over that of the slowed copy, with the bounds of that and of A's speed over
    /// that of the slowed copy. Where [`SLOWED_AT_LEAST`] to [`SLOWED_AT_MOST`] lie outside, the
    /// ratio's bounds are wider by as much as these may be off.
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
            logs.ok_or_else(|| "a round has no controls: no copy of A was run".to_owned())
        };
        let none = || "a round has a time that is none".to_owned();
        let by = resolution(measurement.clock);
        let ratio = |logs: &[f64]| {
            let logs = logs.get(..at.rounds).ok_or_else(none)?;
            Ratio::at(logs, at.alpha).map(|ratio| ratio.wider_by(by)).ok_or_else(none)
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
        let equal = controls(|round, controls| controls.log_equal(&round.a_ns))?;
        let calibrated = Calibrated::at(&logs, &equal, at, by).ok_or_else(none)?;
        let slowed = controls(|_, controls| controls.log_slowed())?;
        let beside_a: Vec<f64> = slowed.iter().zip(&equal).map(|(slow, d)| slow + d).collect();
        let slowed = ratio(&slowed)?.hull(&ratio(&beside_a)?);
        Ok(Decision {
            ratio: calibrated.judged().wider_by(off_by(&slowed)),
            calibrated,
            slowed,
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
    pub fn controls_fail(&self) -> Option<String> {
        self.scale_is_wrong().or_else(|| self.is_remembered()).or_else(|| self.leaves_no_room())
    }

    /// What the slowed copy shows is nearer to something else than to what was injected. An interval
    /// that holds it says by its width how much the instrument blurs, and nothing against the ratio.
    fn scale_is_wrong(&self) -> Option<String> {
        let Ratio { lower, upper, .. } = self.slowed;
        if upper < SLOWED_AT_LEAST - SLOWED_OFF_BY {
            let ratio = self.slowed;
            return Some(format!("control: a copy slowed down by 5 % was not found ({ratio})"));
        }
        (lower > SLOWED_AT_MOST + SLOWED_OFF_BY).then(|| {
            let ratio = self.slowed;
            format!(
                "control: a copy slowed down by 5 % was {ratio} times as slow, which is not 5 %"
            )
        })
    }

    /// A control excludes what is known by more than the ratio has room for.
    fn leaves_no_room(&self) -> Option<String> {
        let Calibrated { alone, by_copy, equal, turned } = &self.calibrated;
        let open = |ratio: &Ratio| self.judged(ratio) == Outcome::Inconclusive;
        if open(alone) || !open(&self.ratio) {
            return None;
        }
        if !open(&self.calibrated.judged()) {
            let slowed = self.slowed;
            return Some(format!(
                "control: a copy slowed down by 5 % was {slowed} times as slow, and the ratio has no \
                 room for what that is off by"
            ));
        }
        let turned = turned.as_ref()?;
        Some(format!(
            "control: A against a copy of A gave {equal}, which is not 1, and the ratio has no room \
             for it: with the copy in A's place it is {by_copy}, with the error turned round {turned}"
        ))
    }

    fn is_remembered(&self) -> Option<String> {
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
    pub fn bootstrap(&self) -> Option<Bootstrap> {
        let Bootstrap { lower, upper } = bootstrap_of_median(&self.logs, self.ratio.alpha)?;
        Some(Bootstrap { lower: exp(lower), upper: exp(upper) })
    }

    /// What it says about the threshold; nothing where a control fails.
    pub fn outcome(&self) -> Outcome {
        match self.controls_fail() {
            None => self.judged(&self.ratio),
            Some(_) => Outcome::Inconclusive,
        }
    }

    fn judged(&self, ratio: &Ratio) -> Outcome {
        match ratio.outcome(self.threshold) {
            Outcome::Pass if self.strictly && ratio.lower <= self.threshold => {
                Outcome::Inconclusive
            }
            outcome => outcome,
        }
    }

    /// Whether 5 % cannot be told from nothing here: said beside the ratio, whose own bounds are as
    /// wide.
    pub fn blurs(&self) -> bool {
        self.slowed.contains_one()
    }

    /// Whether A may be called faster than B: the lower bound is above 1. Not inferior is less.
    pub fn is_improvement(&self) -> bool {
        self.controls_fail().is_none() && self.ratio.lower > 1.0
    }

    /// Whether no further look is due.
    pub fn is_final(&self) -> bool {
        self.outcome() != Outcome::Inconclusive
    }
}

/// By which factor what a slowed copy shows may be off, where it excludes what was injected: 1 where it
/// does not.
fn off_by(slowed: &Ratio) -> f64 {
    if slowed.upper < SLOWED_AT_LEAST {
        SLOWED_AT_LEAST / slowed.lower
    } else if slowed.lower > SLOWED_AT_MOST {
        slowed.upper / SLOWED_AT_MOST
    } else {
        1.0
    }
}

/// By which factor bounds are wider for what `clock` does not resolve. On guest instructions there
/// is next to no noise that would widen them, and what lies elsewhere in memory makes as much of a
/// difference as this.
fn resolution(clock: Clock) -> f64 {
    match clock {
        Clock::Wall => 1.0,
        Clock::Instructions => 1.0 + REPRODUCIBLE_TO,
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} against {}", self.ratio, self.threshold)?;
        write!(f, " after {} rounds: {:?}", self.ratio.rounds, self.outcome())?;
        if self.is_improvement() {
            write!(f, ", an improvement")?;
        }
        if self.blurs() {
            write!(f, "; 5 % is not told apart here ({})", self.slowed)?;
        }
        self.controls_fail().map_or(Ok(()), |why| write!(f, "; {why}"))
    }
}

#[cfg(test)]
mod tests;
