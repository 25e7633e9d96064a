//! Judges a run: all criteria, in both places.
//!
//! It fails closed. Whatever is missing, cut off, skipped in its own place or not in the
//! expected-tests manifest is INCONCLUSIVE, and a run succeeds only if all five criteria PASS.

use evidence::criterion::Criterion;
use evidence::exit::{self, Exit};
use evidence::facts::LOAD_CYCLES;
use evidence::place::Place;
use evidence::processor::{Processor, or_none};
use evidence::stats::failure_rate_bound;
use serde::{Deserialize, Serialize};

use crate::bare_metal::BareMetal;
use crate::criterion_verdict::CriterionVerdict;
use crate::index::Fact;
use crate::levels::{self, LevelStanding};
use crate::rule::judgement::{Judgement, State};
use crate::rule::{ratios, recorded};
use crate::trails::{Evidence, OlderRecords, Phase};
use crate::trial_end::TrialEnd;
use crate::trials;
use crate::unexplained;

/// The verdict on a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// PASS only if every criterion is.
    pub state: State,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// What executed the guest; `none` if no guest ran.
    #[serde(with = "or_none")]
    pub accelerator: Option<Processor>,
    /// The five criteria.
    pub criteria: Vec<CriterionVerdict>,
    /// Whether the module may leave the VM.
    pub bare_metal: BareMetal,
    /// How far each home is, level by level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<LevelStanding>,
    /// The run's phases, in order.
    pub phases: Vec<Phase>,
    /// What is wrong with the evidence itself.
    pub damage: Vec<String>,
    /// Which older vexfs-validate wrote the records, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<OlderRecords>,
}

/// Judges the evidence.
pub fn of(evidence: &Evidence) -> Verdict {
    let damage = evidence.damage();
    let criteria = criteria(evidence, &Place::ALL, &damage);
    let state = criteria.iter().map(|one| one.state).max().unwrap_or(State::Inconclusive);
    Verdict {
        state,
        exit_code: exit_of(state).code,
        bare_metal: BareMetal::of(evidence, &criteria),
        accelerator: evidence.processor(Place::Guest),
        levels: levels::of(evidence),
        phases: evidence.phases(),
        criteria,
        damage,
        older: evidence.older_records(),
    }
}

/// Judges the guest's part of the criteria alone.
pub fn in_the_guest(evidence: &Evidence) -> Vec<CriterionVerdict> {
    criteria(evidence, &[Place::Guest], &evidence.damage())
}

/// The criteria that show whether a kernel and a module work together. The others measure, compare
/// data, or need other programs.
pub const FUNCTIONAL: [Criterion; 2] = [Criterion::Fuse, Criterion::Module];

/// Judges the guest's part of the functional criteria alone.
pub fn functional(evidence: &Evidence) -> Vec<CriterionVerdict> {
    let all = criteria(evidence, &[Place::Guest], &evidence.damage());
    all.into_iter().filter(|verdict| FUNCTIONAL.contains(&verdict.id)).collect()
}

/// Whether FUSE is preserved on the host. Everything later is measured against FUSE. A failure of
/// the phase that no trial explains does not count: a process that a trial of another criterion
/// left behind says nothing of FUSE.
pub fn fuse_is_preserved(evidence: &Evidence) -> bool {
    let open = of_damage(&evidence.damage());
    judge(Criterion::Fuse, evidence, &[Place::Host], &open).state == State::Pass
}

fn criteria(evidence: &Evidence, places: &[Place], damage: &[String]) -> Vec<CriterionVerdict> {
    let mut open = of_damage(damage);
    open.extend(unexplained::failures(evidence, places));
    let judge = |criterion| judge(criterion, evidence, places, &open);
    Criterion::ALL.into_iter().map(judge).collect()
}

fn of_damage(damage: &[String]) -> Vec<String> {
    damage.iter().map(|what| format!("the evidence is damaged: {what}")).collect()
}

/// The exit code of a state.
pub fn exit_of(state: State) -> Exit {
    match state {
        State::Pass => exit::SUCCESS,
        State::Fail => exit::FAIL,
        State::Inconclusive => exit::INCONCLUSIVE,
    }
}

/// Judges one criterion. Each reason in `open` leaves every criterion open.
fn judge(
    criterion: Criterion,
    evidence: &Evidence,
    places: &[Place],
    open: &[String],
) -> CriterionVerdict {
    let mut judgement = Judgement::default();
    for reason in open {
        judgement.inconclusive(reason.clone());
    }
    let count = trials::judge(criterion, evidence, places, &mut judgement);
    let ratios = ratios::judge(criterion, evidence, places, &mut judgement);
    let recorded = recorded::judge(criterion, evidence, places, &mut judgement);
    CriterionVerdict {
        id: criterion,
        title: criterion.title().to_owned(),
        state: judgement.state(),
        passed: count.passed,
        expected: count.expected,
        reasons: judgement.into_reasons(),
        ratios,
        recorded,
        notes: if criterion == Criterion::Module { stability(evidence) } else { Vec::new() },
    }
}

/// What the load/unload cycles of passed trials prove, computed again from their number.
fn stability(evidence: &Evidence) -> Vec<String> {
    let held =
        |fact: &Fact| evidence.trial_end(fact.trial, Place::Guest) == Some(&TrialEnd::Passed);
    evidence
        .facts(Place::Guest, LOAD_CYCLES)
        .filter(held)
        .filter_map(|fact| u32::try_from(fact.value["microseconds"].as_array()?.len()).ok())
        .filter(|&cycles| cycles > 0)
        .map(|cycles| {
            let bound = failure_rate_bound(cycles, 0.05) * 100.0;
            format!(
                "{cycles} of {cycles} load/unload cycles without a failure prove a failure rate \
                 below {bound:.2} % a cycle at 95 %"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
