//! Ratios, recomputed from the raw samples.

use serde::{Deserialize, Serialize};

use super::{Evidence, Judgement};
use crate::criterion::Criterion;
use crate::evidence::{Event, Measurement, Round};
use crate::place::Place;
use crate::protocol::PROTOCOL;
use crate::stats::{Outcome, Ratio};
use crate::thresholds::{self, Rule, Scene};

/// A ratio with the rule that it was judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedRatio {
    /// [`Rule::id`].
    pub rule: String,
    /// [`Rule::title`].
    pub title: String,
    /// Where it was measured.
    pub place: Place,
    /// The accelerator stamped on it: `native`, `kvm` or `tcg` (an emulated CPU).
    pub accelerator: String,
    /// Speed of A over speed of B, with bounds.
    pub ratio: Option<Ratio>,
    /// Median operations per second of A and of B.
    pub speeds: Option<(f64, f64)>,
    /// Recall@k of A and of B, where answers were given.
    pub recalls: (Option<f64>, Option<f64>),
    /// The threshold.
    pub threshold: f64,
    /// What the ratio says about it.
    pub outcome: Outcome,
    /// Whether the criterion depends on it.
    pub decides: bool,
    /// Why not, or what keeps it from counting.
    pub note: String,
}

pub(super) fn judge(
    criterion: Criterion,
    evidence: &Evidence,
    judgement: &mut Judgement,
) -> Vec<JudgedRatio> {
    let mut judged = Vec::new();
    for place in [Place::Host, Place::Guest] {
        let accelerator = match place {
            Place::Host => "native".to_owned(),
            Place::Guest => evidence.accelerator(),
        };
        let scene = Scene { place, emulated: accelerator == "tcg" };
        let self_test = self_test(evidence, place);
        for rule in thresholds::ALL.iter().filter(|rule| rule.criterion == criterion) {
            let bound = rule.at(scene);
            let measured: Vec<&Measurement> = measurements(evidence, place, rule).collect();
            if measured.is_empty() && bound.decides {
                judgement.inconclusive(format!("{} ({place}) was not measured", rule.title));
            }
            for measurement in measured {
                let mut one = judge_one(rule, scene, measurement);
                one.accelerator.clone_from(&accelerator);
                if let Err(why) = &self_test {
                    one.outcome = Outcome::Inconclusive;
                    one.note.clone_from(why);
                }
                if bound.decides {
                    count(&one, judgement);
                }
                judged.push(one);
            }
        }
    }
    judged
}

/// No number from a guest whose emulator has not shown that it computes rightly.
fn self_test(evidence: &Evidence, place: Place) -> Result<(), String> {
    if place == Place::Host {
        return Ok(());
    }
    let last = evidence.records(place).filter_map(|record| match &record.event {
        Event::SelfTest { passed, detail } => Some((*passed, detail)),
        _ => None,
    });
    match last.last() {
        Some((true, _)) => Ok(()),
        Some((false, detail)) => Err(format!("the guest's CPU computes wrongly: {detail}")),
        None => Err("the guest's CPU was not tested".to_owned()),
    }
}

fn measurements<'e>(
    evidence: &'e Evidence,
    place: Place,
    rule: &'e Rule,
) -> impl Iterator<Item = &'e Measurement> {
    evidence.records(place).filter_map(|record| match &record.event {
        Event::Measurement(one) if one.rule == rule.id => Some(&**one),
        _ => None,
    })
}

fn count(one: &JudgedRatio, judgement: &mut Judgement) {
    let numbers = one.ratio.map_or_else(
        || "no ratio".to_owned(),
        |ratio| {
            format!(
                "{:.3} [{:.3}, {:.3}] against {}",
                ratio.estimate, ratio.lower, ratio.upper, one.threshold
            )
        },
    );
    let text = format!("{} ({}): {numbers} {}", one.title, one.place, one.note);
    match one.outcome {
        Outcome::Pass => {}
        Outcome::Fail => judgement.fail(text.trim_end()),
        Outcome::Inconclusive => judgement.inconclusive(text.trim_end()),
    }
}

fn judge_one(rule: &Rule, scene: Scene, measurement: &Measurement) -> JudgedRatio {
    let bound = rule.at(scene);
    let ratio = sound(measurement)
        .and_then(|()| measurement.ratio().ok_or_else(|| "too few rounds for a bound".to_owned()));
    let mut outcome =
        ratio.as_ref().map_or(Outcome::Inconclusive, |one| one.outcome(bound.threshold));
    let mut note = ratio.as_ref().err().cloned().unwrap_or_else(|| bound.reason.to_owned());
    if measurement.threshold != bound.threshold || measurement.decides != bound.decides {
        outcome = Outcome::Inconclusive;
        note = format!(
            "the evidence repeats another rule (threshold {}, decides: {}) than is registered",
            measurement.threshold, measurement.decides
        );
    }
    if let (Some(a), Some(b)) = (measurement.a.recall, measurement.b.recall)
        && a < b
    {
        outcome = Outcome::Fail;
        note = format!("recall {a:.4} is below the other's {b:.4}");
    }
    JudgedRatio {
        rule: rule.id.to_owned(),
        title: rule.title.to_owned(),
        place: scene.place,
        accelerator: String::new(),
        speeds: speeds(measurement),
        ratio: ratio.ok(),
        recalls: (measurement.a.recall, measurement.b.recall),
        threshold: bound.threshold,
        outcome,
        decides: bound.decides,
        note,
    }
}

/// The protocol's rounds, in ABBA order, the same number of samples on both sides.
fn sound(measurement: &Measurement) -> Result<(), String> {
    let counted = measurement.counted();
    if measurement.warmups < PROTOCOL.warmups || counted.len() < PROTOCOL.runs {
        return Err(format!(
            "{} warm-ups and {} rounds, where the protocol asks for {} and {}",
            measurement.warmups,
            counted.len(),
            PROTOCOL.warmups,
            PROTOCOL.runs
        ));
    }
    for pair in measurement.rounds.windows(2) {
        if pair[0].order == pair[1].order {
            return Err("the rounds are not in ABBA order".to_owned());
        }
    }
    for round in &measurement.rounds {
        if round.a_ns.is_empty() || round.a_ns.len() != round.b_ns.len() {
            return Err(format!(
                "a round has {} samples of one side and {} of the other",
                round.a_ns.len(),
                round.b_ns.len()
            ));
        }
    }
    Ok(())
}

fn speeds(measurement: &Measurement) -> Option<(f64, f64)> {
    let of = |round: &Round| round.speeds(measurement.operations_per_round);
    let (a, b): (Vec<f64>, Vec<f64>) = measurement.counted().iter().map(of).unzip();
    Some((crate::stats::median(&a)?, crate::stats::median(&b)?))
}
