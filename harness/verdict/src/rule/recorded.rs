//! Ratios to recorded figures, computed again from the times of our batches.

use evidence::baselines::{Baselines, Figure};
use evidence::clock::Clock;
use evidence::criterion::Criterion;
use evidence::facts::{COMPARED, Compared};
use evidence::place::Place;
use evidence::processor::{Processor, or_none};
use evidence::stats::{Outcome, Ratio};
use evidence::thresholds::{FUSE_OVER_RECORDED_INSERTION as RULE, RuleScene};
use serde::{Deserialize, Serialize};

use super::ratios::self_test;
use crate::index::Fact;
use crate::rule::judgement::{Judgement, Reason};
use crate::trails::Evidence;

/// A judged ratio to a recorded figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedFigure {
    /// The trial that measured our rate.
    pub trial: String,
    /// What was recorded.
    pub figure: Figure,
    /// Where our rate was measured.
    pub place: Place,
    /// What executed it.
    #[serde(with = "or_none")]
    pub accelerator: Option<Processor>,
    /// Our rate in rows per second, the median over batches.
    pub ours: Option<f64>,
    /// Our rate / the recorded rate, with bounds.
    pub ratio: Option<Ratio>,
    /// The threshold.
    pub threshold: f64,
    /// The outcome against the threshold.
    pub outcome: Outcome,
    /// Whether the criterion depends on it.
    pub decides: bool,
    /// Why it does not decide, or why it does not count.
    pub note: String,
}

/// Judges all comparisons with recorded figures. In a place where they decide, every comparable
/// figure must have been compared.
pub(crate) fn judge(
    criterion: Criterion,
    evidence: &Evidence,
    places: &[Place],
    judgement: &mut Judgement,
) -> Vec<JudgedFigure> {
    if criterion != RULE.criterion {
        return Vec::new();
    }
    let registered = match Baselines::registered() {
        Ok(registered) => registered,
        Err(why) => {
            judgement.inconclusive(format!("the registered figures cannot be read: {why}"));
            return Vec::new();
        }
    };
    let mut judged = Vec::new();
    for &place in places {
        let accelerator = evidence.processor(place);
        let scene = RuleScene {
            place,
            emulated: accelerator.is_some_and(Processor::is_emulated),
            clock: Clock::Wall,
        };
        let self_test = self_test(evidence, place);
        let from = judged.len();
        for Fact { trial, value } in evidence.facts(place, COMPARED) {
            match serde_json::from_value::<Compared>(value.clone()) {
                Ok(compared) => {
                    let mut one = judge_one(trial, &compared, scene, &registered);
                    one.accelerator = accelerator;
                    if let Err(why) = &self_test {
                        one.outcome = Outcome::Inconclusive;
                        one.note.clone_from(why);
                    }
                    judged.push(one);
                }
                Err(error) => judgement.inconclusive(format!(
                    "{trial} ({place}) compares with a recorded figure, and does not say how: \
                     {error}"
                )),
            }
        }
        let here = &judged[from..];
        here.iter().filter(|one| one.decides).for_each(|one| count(one, judgement));
        for figure in registered.figures.iter().filter(|one| one.decides(RULE.at(scene))) {
            if here.iter().all(|one| one.figure != *figure) {
                let title = format!("FUSE over {figure}");
                let text = format!("{title} ({place}) was not compared");
                judgement.add(Reason::of_ratio(&title, place, text));
            }
        }
    }
    judged
}

fn judge_one(
    trial: &str,
    compared: &Compared,
    scene: RuleScene,
    registered: &Baselines,
) -> JudgedFigure {
    let bound = RULE.at(scene);
    let figure = &compared.figure;
    let decides = figure.decides(bound);
    let ratio = compared.ratio();
    let (mut outcome, mut note) = match &ratio {
        Ok(ratio) => (ratio.outcome(bound.threshold), bound.reason.to_owned()),
        Err(why) => (Outcome::Inconclusive, why.to_string()),
    };
    if !decides && note.is_empty() {
        note.push_str("reported beside the criterion, which is about ChromaDB");
    }
    if (compared.threshold, compared.decides) != (bound.threshold, decides) {
        outcome = Outcome::Inconclusive;
        note = format!(
            "the evidence repeats another rule (threshold {}, decides: {}) than is registered",
            compared.threshold, compared.decides
        );
    }
    if !registered.figures.contains(figure) {
        outcome = Outcome::Inconclusive;
        note = "the evidence repeats another figure than is registered".to_owned();
    }
    JudgedFigure {
        trial: trial.to_owned(),
        figure: figure.clone(),
        place: scene.place,
        accelerator: None,
        ours: ratio.as_ref().ok().map(|ratio| ratio.estimate * figure.value),
        ratio: ratio.ok(),
        threshold: bound.threshold,
        outcome,
        decides,
        note,
    }
}

impl JudgedFigure {
    /// The ratio, its threshold and the note, for a person.
    pub fn summary(&self) -> String {
        let numbers = self.ratio.map_or_else(
            || "no ratio".to_owned(),
            |ratio| format!("{ratio} against {}", self.threshold),
        );
        let (figure, place) = (&self.figure, self.place);
        format!("FUSE over {figure}, as recorded ({place}): {numbers} {}", self.note)
            .trim_end()
            .to_owned()
    }
}

fn count(one: &JudgedFigure, judgement: &mut Judgement) {
    match one.outcome {
        Outcome::Pass => {}
        Outcome::Fail => judgement.fail(one.summary()),
        Outcome::Inconclusive => judgement.inconclusive(one.summary()),
    }
}

#[cfg(test)]
mod tests;
