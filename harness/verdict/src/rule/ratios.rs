//! Ratios, computed again from the raw samples.

use std::fmt;

use evidence::clock::Clock;
use evidence::criterion::Criterion;
use evidence::place::Place;
use evidence::processor::{Processor, or_none};
use evidence::stats::{Bootstrap, Calibrated, Outcome, Ratio};
use evidence::thresholds::{self, Rule, RuleScene};
use evidence::{Event, Measurement, Round};
use serde::{Deserialize, Serialize};

use crate::rule::decision::Decision;
use crate::rule::judgement::{Judgement, Reason};
use crate::trails::Evidence;

/// A judged ratio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedRatio {
    /// [`Rule::id`].
    pub rule: String,
    /// [`Rule::title`].
    pub title: String,
    /// Where it was measured.
    pub place: Place,
    /// What executed it.
    #[serde(with = "or_none")]
    pub accelerator: Option<Processor>,
    /// What its times count.
    pub clock: Clock,
    /// Speed of A / speed of B with the judged bounds, which include the control.
    pub ratio: Option<Ratio>,
    /// The ratio by itself, the ratio with the copy in A's place, and the A/A control.
    pub calibrated: Option<Calibrated>,
    /// The bootstrap interval of the ratio by itself; it decides nothing.
    pub bootstrap: Option<Bootstrap>,
    /// The positive control: speed of the copy, and of A, over the speed of the copy slowed down by
    /// 5 %.
    pub slowed: Option<Ratio>,
    /// Median operations per second of A and of B.
    pub speeds: Option<(f64, f64)>,
    /// Recall@k of A and of B, if they answered queries.
    pub recalls: (Option<f64>, Option<f64>),
    /// The threshold.
    pub threshold: f64,
    /// Whether the lower bound must lie above the threshold; otherwise it is enough to reach it.
    pub strictly: bool,
    /// Whether A may be called faster than B: the lower bound is above 1, and the controls hold.
    pub improvement: bool,
    /// The outcome against the threshold.
    pub outcome: Outcome,
    /// Whether the criterion depends on it.
    pub decides: bool,
    /// How many rounds the machine's noise disturbed; `None` if guest instructions were counted.
    pub disturbances: Option<Disturbances>,
    /// Why it does not decide, or why it does not count.
    pub note: String,
}

/// Numbers of rounds, by how the machine's noise affected them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbances {
    /// Disturbed and repeated.
    pub repeated: usize,
    /// Disturbed and counted, because the limit on repeats was reached.
    pub counted: usize,
    /// Counted although the kernel did not report the noise.
    pub unknown: usize,
}

impl Disturbances {
    /// `None` if guest instructions were counted, which other processes cannot change.
    fn of(measurement: &Measurement) -> Option<Self> {
        let mut found = Disturbances { repeated: measurement.disturbed.len(), ..Self::default() };
        for round in measurement.counted() {
            match round.noise.and_then(|noise| noise.is_beyond_bounds()) {
                Some(beyond) => found.counted += usize::from(beyond),
                None => found.unknown += 1,
            }
        }
        (measurement.clock == Clock::Wall).then_some(found)
    }
}

impl fmt::Display for Disturbances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.repeated, "done again"),
            (self.counted, "disturbed and counted"),
            (self.unknown, "of unknown noise"),
        ];
        let told: Vec<String> = all
            .into_iter()
            .filter(|&(count, _)| count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        f.write_str(if told.is_empty() { "none" } else { "" })?;
        f.write_str(&told.join(", "))
    }
}

impl JudgedRatio {
    /// The condition on its lower bound.
    pub fn demand(&self) -> String {
        format!("{} {}", if self.strictly { ">" } else { ">=" }, self.threshold)
    }
}

pub(crate) fn judge(
    criterion: Criterion,
    evidence: &Evidence,
    places: &[Place],
    judgement: &mut Judgement,
) -> Vec<JudgedRatio> {
    let mut judged = Vec::new();
    for &place in places {
        let accelerator = evidence.processor(place);
        let emulated = accelerator.is_some_and(Processor::is_emulated);
        let self_test = self_test(evidence, place);
        for rule in thresholds::ALL.iter().filter(|rule| rule.criterion == criterion) {
            let clock = rule.clock(place, emulated);
            let decisive = rule.at(RuleScene { place, emulated, clock }).decides;
            let measured: Vec<&Measurement> = measurements(evidence, place, rule).collect();
            if decisive && !measured.iter().any(|one| one.clock == clock) {
                let (title, clock) = (rule.title, clock.name());
                let text = format!("{title} ({place}) was not measured on {clock}");
                judgement.add(Reason::of_ratio(title, place, text));
            }
            for measurement in measured {
                let scene = RuleScene { place, emulated, clock: measurement.clock };
                let bound = rule.at(scene);
                let mut one = judge_one(rule, scene, measurement);
                one.accelerator = accelerator;
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

/// Checks the self-test: no number counts from a guest whose CPU has not passed it.
pub(super) fn self_test(evidence: &Evidence, place: Place) -> Result<(), String> {
    if place == Place::Host {
        return Ok(());
    }
    let mut tests = evidence.records(place).filter_map(|record| match &record.event {
        Event::SelfTest { passed, detail } => Some((*passed, detail)),
        _ => None,
    });
    match tests.next_back() {
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
        |ratio| format!("{ratio} against {}", one.threshold),
    );
    let (title, place, clock) = (&one.title, one.place, one.clock.name());
    let text = format!("{title} ({place}, {clock}): {numbers} {}", one.note);
    match one.outcome {
        Outcome::Pass => {}
        Outcome::Fail => judgement.fail(text.trim_end()),
        Outcome::Inconclusive => judgement.inconclusive(text.trim_end()),
    }
}

fn judge_one(rule: &Rule, scene: RuleScene, measurement: &Measurement) -> JudgedRatio {
    let bound = rule.at(scene);
    let decision = Decision::by(rule, scene.emulated, measurement);
    let (mut outcome, mut note) = match &decision {
        Ok(decision) => {
            let outcome = decision.outcome();
            let cut_short = measurement.cut_short.filter(|_| outcome == Outcome::Inconclusive);
            let cut_short = cut_short.map(|one| one.to_string());
            let note = decision.controls_fail().or(cut_short);
            (outcome, note.unwrap_or_else(|| bound.reason.to_owned()))
        }
        Err(why) => (Outcome::Inconclusive, why.clone()),
    };
    if (measurement.threshold, measurement.strictly, measurement.decides)
        != (bound.threshold, bound.strictly, bound.decides)
    {
        outcome = Outcome::Inconclusive;
        note = format!(
            "the evidence repeats another rule (threshold {}, decides: {}) than is registered",
            measurement.threshold, measurement.decides
        );
    }
    if let Some(why) = recall_below(measurement) {
        outcome = Outcome::Fail;
        note = why;
    }
    let decision = decision.ok();
    JudgedRatio {
        rule: rule.id.to_owned(),
        title: rule.title.to_owned(),
        place: scene.place,
        accelerator: None,
        clock: scene.clock,
        speeds: speeds(measurement),
        ratio: decision.as_ref().map(|one| one.ratio),
        calibrated: decision.as_ref().map(|one| one.calibrated),
        bootstrap: decision.as_ref().and_then(Decision::bootstrap),
        slowed: decision.as_ref().map(|one| one.slowed),
        recalls: (measurement.a.recall, measurement.b.recall),
        threshold: bound.threshold,
        strictly: bound.strictly,
        improvement: decision.as_ref().is_some_and(Decision::is_improvement),
        outcome,
        decides: bound.decides,
        disturbances: Disturbances::of(measurement),
        note,
    }
}

/// Reports a recall of A that is below B's, in which case the ratio does not count.
pub fn recall_below(measurement: &Measurement) -> Option<String> {
    let (a, b) = (measurement.a.recall?, measurement.b.recall?);
    (a < b).then(|| format!("recall {a:.4} is below the other's {b:.4}"))
}

fn speeds(measurement: &Measurement) -> Option<(f64, f64)> {
    let of = |round: &Round| round.speeds(measurement.operations_per_round);
    let (a, b): (Vec<f64>, Vec<f64>) = measurement.counted().map(of).unzip();
    Some((evidence::stats::median(&a)?, evidence::stats::median(&b)?))
}
