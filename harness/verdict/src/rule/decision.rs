//! Decides a measurement: its ratio at the last look, and whether its controls hold.

use std::fmt;

use evidence::clock::{Clock, REPRODUCIBLE_TO};
use evidence::protocol::SLOWED_BY;
use evidence::stats::{Bootstrap, Calibrated, LOOKS, Look, Outcome, Ratio, bootstrap_of_median};
use evidence::thresholds::Rule;
use evidence::{Controls, Measurement, Round};
use libm::exp;

use super::soundness;

/// How many times longer new queries may take than repeated ones. Answering from a cache takes only
/// a small part of the time of a search.
pub const UNSEEN_SLOWER: f64 = 3.0;

/// The least factor by which a copy that is slowed down by [`SLOWED_BY`] is slower: after each
/// operation it waits for that fraction of the operation's time.
pub const SLOWED_AT_LEAST: f64 = 1.0 + SLOWED_BY;

/// The greatest such factor: reading the clock makes the wait longer by less than a microsecond, a
/// hundredth of the shortest operation here.
pub const SLOWED_AT_MOST: f64 = SLOWED_AT_LEAST + 0.01;

/// Relative rounding error of a bound: a threshold that is missed by less counts as met.
const ROUNDING: f64 = 1e-9;

/// How far a narrow interval may lie from the injected slow-down. Beyond this distance, it is
/// nearer to no slow-down or to twice the slow-down. A smaller deviation is an error of the
/// instrument, and the ratio's bounds are widened for it.
pub const SLOWED_OFF_BY: f64 = SLOWED_BY / 2.0;

/// A measurement at its last look.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Speed of A / speed of B: A's own estimate with the judged bounds, which include the
    /// controls. All bounds here are widened by the clock's resolution.
    pub ratio: Ratio,
    /// The ratio, the ratio with the copy in A's place, and the control, each by itself.
    pub calibrated: Calibrated,
    /// Speed of the copy / speed of the slowed copy, with bounds that also cover A / slowed copy.
    /// If the bounds miss the range from [`SLOWED_AT_LEAST`] to [`SLOWED_AT_MOST`], the ratio's
    /// bounds are widened by the deviation.
    pub slowed: Ratio,
    /// Time of new queries / time of the others, for A and for B, if queries were timed. The lower
    /// bound must not exceed [`UNSEEN_SLOWER`].
    pub unseen: [Option<Ratio>; 2],
    threshold: f64,
    strictly: bool,
    /// ln(speed of A / speed of B), one per round.
    logs: Vec<f64>,
}

impl Decision {
    /// As [`Decision::of`], and also checks that the rounds contain the work that `rule` measures.
    ///
    /// # Errors
    /// As [`Decision::of`], and if samples, recalls or unseen queries are missing.
    pub fn by(rule: &Rule, emulated: bool, measurement: &Measurement) -> Result<Decision, String> {
        let decision = Decision::of(measurement)?;
        soundness::of_work(rule, emulated, measurement)?;
        Ok(decision)
    }

    /// Decides on all rounds of the measurement. The trial and the verdict both use this function,
    /// so they cannot disagree.
    ///
    /// # Errors
    /// Why it decides nothing: rounds that do not match the protocol or a preset look, rounds
    /// without controls, or an earlier look that had already decided.
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

    /// Whether the slowed copy contradicts the injected slow-down: its interval is nearer to
    /// another slow-down. An interval that contains the injected slow-down only shows how blurred
    /// the instrument is.
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

    /// Whether a control excludes its known value by so much that the ratio is left undecided.
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

    /// The outcome against the threshold; INCONCLUSIVE if a control fails.
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

    /// Whether this measurement is too noisy to detect a difference of 5 %. This is printed beside
    /// the ratio, whose bounds are correspondingly wide.
    pub fn blurs(&self) -> bool {
        self.slowed.contains_one()
    }

    /// Whether A may be called faster than B: the lower bound is above 1. 'Not inferior' is a
    /// weaker claim.
    pub fn is_improvement(&self) -> bool {
        self.controls_fail().is_none() && self.ratio.lower > 1.0
    }

    /// Whether no further look is needed.
    pub fn is_final(&self) -> bool {
        self.outcome() != Outcome::Inconclusive
    }
}

/// The factor by which a slowed copy deviates from the injected slow-down; 1 if its interval
/// contains it.
fn off_by(slowed: &Ratio) -> f64 {
    if slowed.upper < SLOWED_AT_LEAST * (1.0 - ROUNDING) {
        SLOWED_AT_LEAST / slowed.lower
    } else if slowed.lower > SLOWED_AT_MOST * (1.0 + ROUNDING) {
        slowed.upper / SLOWED_AT_MOST
    } else {
        1.0
    }
}

/// The factor by which bounds are widened for the resolution of `clock`. Guest instructions have
/// almost no noise, but the placement of data in memory changes the count by about this much.
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
