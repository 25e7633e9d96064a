//! What a measurement says: its ratio at the last look, and whether its controls hold.

use std::fmt;

use crate::clock::{Clock, REPRODUCIBLE_TO};
use crate::evidence::{Controls, Measurement, Round};
use crate::measure::controlled_order_of;
use crate::protocol::PROTOCOL;
use crate::stats::{Bootstrap, LOOKS, Look, Outcome, Ratio, bootstrap_of_median, look};

/// By how much longer queries that were never asked before may take than the others. What is
/// answered from memory takes a small part of the time of a search.
pub const UNSEEN_SLOWER: f64 = 3.0;

/// A measurement at its last look.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Speed of A over speed of B.
    pub ratio: Ratio,
    /// The bootstrap's bounds of the same ratio, which decide nothing.
    pub bootstrap: Option<Bootstrap>,
    /// Speed of A over speed of its copy: 1 must lie between the bounds.
    pub equal: Ratio,
    /// Speed of the copy over that of the slowed copy: the bounds must be above 1.
    pub slowed: Ratio,
    /// Time of queries never asked before over that of the others, of A and of B, where queries
    /// were timed: the lower bound must not be above [`UNSEEN_SLOWER`].
    pub unseen: [Option<Ratio>; 2],
    threshold: f64,
    strictly: bool,
    clock: Clock,
}

impl Decision {
    /// Decides on the measurement's rounds, all of which are looked at: for the trial that made
    /// them as for the verdict, so that none makes what the other refuses.
    ///
    /// # Errors
    /// Why it decides nothing: rounds that are not the protocol's or not those of a preset look,
    /// rounds without controls, or a look before that had decided already.
    pub fn of(measurement: &Measurement) -> Result<Decision, String> {
        must_be_sound(measurement)?;
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
                .map(|looked| looked.ratio)
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
        let bootstrap = bootstrap_of_median(&logs[..at.rounds.min(logs.len())], at.alpha)
            .map(|Bootstrap { lower, upper }| Bootstrap { lower: lower.exp(), upper: upper.exp() });
        Ok(Decision {
            ratio: ratio(&logs)?,
            bootstrap,
            equal: ratio(&controls(|round, controls| controls.log_equal(&round.a_ns))?)?,
            slowed: ratio(&controls(|_, controls| controls.log_slowed())?)?,
            unseen: [
                unseen(|round, one| Controls::log_unseen(&one.a_unseen_ns, &round.a_ns))?,
                unseen(|round, one| Controls::log_unseen(&one.b_unseen_ns, &round.b_ns))?,
            ],
            threshold,
            strictly,
            clock: measurement.clock,
        })
    }

    /// Why the controls do not hold.
    #[must_use]
    pub fn controls_fail(&self) -> Option<String> {
        // On the instruction clock there is no noise to widen the bounds beyond what it resolves.
        let resolution = match self.clock {
            Clock::Wall => 0.0,
            Clock::Instructions => REPRODUCIBLE_TO,
        };
        if self.equal.lower > 1.0 + resolution || self.equal.upper < 1.0 - resolution {
            let Ratio { estimate, lower, upper, .. } = self.equal;
            return Some(format!(
                "control: A against a copy of A gave {estimate:.3} [{lower:.3}, {upper:.3}], which \
                 is not 1"
            ));
        }
        if self.slowed.lower <= 1.0 {
            let Ratio { estimate, lower, upper, .. } = self.slowed;
            return Some(format!(
                "control: a copy slowed down by 5 % was not found ({estimate:.3} [{lower:.3}, \
                 {upper:.3}])"
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

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ratio { estimate, lower, upper, rounds, .. } = self.ratio;
        write!(f, "{estimate:.3} [{lower:.3}, {upper:.3}] against {}", self.threshold)?;
        write!(f, " after {rounds} rounds: {:?}", self.outcome())?;
        if self.is_improvement() {
            write!(f, ", an improvement")?;
        }
        self.controls_fail().map_or(Ok(()), |why| write!(f, "; {why}"))
    }
}

/// Passes of the protocol's rounds, in their orders, the same number of samples on all sides.
fn must_be_sound(measurement: &Measurement) -> Result<(), String> {
    for pass in &measurement.passes {
        if measurement.warmups != PROTOCOL.warmups || pass.len() != PROTOCOL.rounds() {
            return Err(format!(
                "{} warm-ups in a pass of {} rounds, where the protocol asks for {} and {}",
                measurement.warmups,
                pass.len(),
                PROTOCOL.warmups,
                PROTOCOL.rounds()
            ));
        }
        for (index, round) in pass.iter().enumerate() {
            let (order, design) = (round.order, controlled_order_of(index));
            if order != design {
                return Err(format!(
                    "round {index} was done in the order {order:?}, its design asks for {design:?}"
                ));
            }
        }
        // Where recall is told, queries were answered.
        let is_unseen = |one: &Controls| !one.a_unseen_ns.is_empty() && !one.b_unseen_ns.is_empty();
        if measurement.a.recall.is_some()
            && !pass.iter().all(|round| round.controls.as_ref().is_none_or(is_unseen))
        {
            return Err("a round of queries opens with none that is new".to_owned());
        }
        for round in pass {
            let samples = round.a_ns.len();
            let controls = round.controls.iter();
            let mut others = controls
                .flat_map(|one| [&one.again_ns, &one.slowed_ns])
                .chain([&round.b_ns])
                .map(Vec::len);
            if let Some(other) = others.find(|&other| other != samples || samples == 0) {
                return Err(format!(
                    "a round has {samples} samples of one side and {other} of the other"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::evidence::Side;
    use crate::measure::{Arm, Turn, controlled_rounds};

    /// Twenty rounds: A at 1000, B at `b`, the copies at `again` and `slowed`.
    fn decided(b: u64, again: u64, slowed: u64, strictly: bool) -> Decision {
        let controls = Controls {
            again_ns: vec![again],
            slowed_ns: vec![slowed],
            a_unseen_ns: vec![2000, 900, 1100],
            b_unseen_ns: vec![b],
        };
        with_controls(b, &controls, strictly)
    }

    fn with_controls(b: u64, controls: &Controls, strictly: bool) -> Decision {
        let rounds = (0..PROTOCOL.rounds()).map(|index| Round {
            order: controlled_order_of(index),
            a_ns: vec![1000],
            b_ns: vec![b],
            controls: Some(controls.clone()),
            noise: None,
        });
        Decision::of(&measurement(rounds.collect(), strictly)).unwrap()
    }

    fn measurement(rounds: Vec<Round>, strictly: bool) -> Measurement {
        let side = Side { contender: "x".to_owned(), recall: None, description: json!({}) };
        Measurement {
            trial: "x".to_owned(),
            rule: "x".to_owned(),
            threshold: 1.0,
            strictly,
            decides: true,
            clock: Clock::Wall,
            operations_per_round: 1,
            warmups: PROTOCOL.warmups,
            a: side.clone(),
            b: side,
            passes: vec![rounds],
            disturbed: vec![],
        }
    }

    #[test]
    fn what_is_measured_is_decided_on() {
        let done = controlled_rounds(PROTOCOL.rounds(), 0, |arm, _| {
            let nanoseconds = match arm {
                Arm::A | Arm::Again => 1000,
                Arm::B => 2000,
                Arm::Slowed => 1050,
            };
            Ok(Turn::of(vec![Duration::from_nanos(nanoseconds)]))
        });
        let decision = Decision::of(&measurement(done.unwrap().rounds, true)).unwrap();
        assert_eq!((decision.outcome(), decision.controls_fail()), (Outcome::Pass, None));
    }

    #[test]
    fn what_must_lie_above_is_not_met_by_reaching_it() {
        assert_eq!(decided(1000, 1000, 1050, true).outcome(), Outcome::Inconclusive);
        assert_eq!(decided(1000, 1000, 1050, false).outcome(), Outcome::Pass);
        assert_eq!(decided(1001, 1000, 1050, true).outcome(), Outcome::Pass);
        assert!(!decided(1000, 1000, 1050, false).is_improvement());
        assert!(decided(1001, 1000, 1050, false).is_improvement());
    }

    #[test]
    fn answers_from_memory_decide_nothing() {
        let controls = Controls {
            again_ns: vec![1000],
            slowed_ns: vec![1050],
            a_unseen_ns: vec![4000, 3500, 9000, 3600],
            b_unseen_ns: vec![],
        };
        let decision = with_controls(3000, &controls, false);
        assert_eq!(decision.outcome(), Outcome::Inconclusive);
        let words = "A takes 3.5 times as long (at least 3.5) for queries that it was never asked";
        assert!(decision.to_string().contains(words), "{decision}");
        // One of four that the machine let through at full speed shows that it was the machine.
        let disturbed = Controls { a_unseen_ns: vec![4000, 1100, 9000, 3600], ..controls };
        assert_eq!(with_controls(3000, &disturbed, false).outcome(), Outcome::Pass);
    }

    #[rstest::rstest]
    #[case::copy_differs(1010, 1060, "a copy of A gave")]
    #[case::slow_down_not_seen(1000, 1000, "slowed down by 5 % was not found")]
    fn a_control_that_fails_decides_nothing(
        #[case] again: u64,
        #[case] slowed: u64,
        #[case] words: &str,
    ) {
        let decision = decided(3000, again, slowed, false);
        assert_eq!(decision.outcome(), Outcome::Inconclusive);
        assert!(!decision.is_improvement());
        assert!(decision.to_string().contains(words), "{decision}");
    }
}
