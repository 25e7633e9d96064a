//! The run's JUnit file for GitHub, GitLab and Jenkins, made from the evidence: one suite per place
//! and criterion.
//!
//! nextest's own file has a generic message for every skip, and knows nothing about a guest that
//! went down during a trial, the kernel's log, or an undecided ratio. Only two things are taken
//! from it: the output of failed trials, and the tests that are not trials.
//!
//! The verdict has a suite of its own, with a case per criterion. That suite is red for faults that
//! no trial reports: damage, a guest that went down after its trials, an undecided ratio.
//!
//! A trial that never ended, was not run, or was skipped in its own place is an error. A trial
//! whose deciding ratio is INCONCLUSIVE counts as skipped, with the ratio, so that CI does not take
//! it for a pass.

mod details;
mod nextest;
#[cfg(test)]
mod schema;
mod suite;
#[cfg(test)]
mod tests;
mod xml;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use evidence::Event;
use evidence::clock::Clock;
use evidence::criterion::Criterion;
use evidence::place::Place;
use evidence::processor::id_of;
use evidence::stats::Outcome;
use nextest::Nextest;
pub use nextest::raw_file;
use suite::{Bad, Case, CaseResult, Suite};

use crate::criterion_verdict::CriterionVerdict;
use crate::report::run::Run;
use crate::rule::judgement::State;
use crate::trial_end::TrialEnd;

/// The file's name in a run's directory.
pub const FILE: &str = "junit.xml";

/// Writes the JUnit text of `run`, whose directory is `dir`.
///
/// # Errors
/// None that the environment can cause: the text is written to memory.
pub fn of(run: &Run, dir: &Path) -> io::Result<String> {
    let nextest = Nextest::read(dir);
    let mut suites = Vec::new();
    for place in Place::ALL {
        for criterion in Criterion::ALL {
            suites.push(suite(run, place, criterion, &nextest));
        }
    }
    let trials: BTreeSet<(Place, String)> = Place::ALL
        .into_iter()
        .flat_map(|place| run.trial_ends(place).map(move |(trial, _)| (place, trial.to_owned())))
        .collect();
    suites.extend(nextest.others(&trials));
    suites.extend(verdict(run));
    suites.retain(|suite| !suite.cases.is_empty() || !suite.errors.is_empty());
    xml::text(&suites)
}

fn suite(run: &Run, place: Place, criterion: Criterion, nextest: &Nextest) -> Suite {
    let records = || {
        let of_criterion = move |trial: &str| Criterion::of_trial(trial) == Some(criterion);
        run.evidence.records(place).filter(move |record| match &record.event {
            Event::TrialStarted { trial } | Event::TrialFinished { trial, .. } => {
                of_criterion(trial)
            }
            Event::Measurement(one) => of_criterion(&one.trial),
            _ => false,
        })
    };
    let mut seconds: BTreeMap<&str, f64> = BTreeMap::new();
    let mut clocks: BTreeSet<&str> = BTreeSet::new();
    for record in records() {
        match &record.event {
            Event::TrialFinished { trial, seconds: took, .. } => {
                *seconds.entry(trial).or_default() += took;
            }
            Event::Measurement(one) => {
                clocks.insert(one.clock.name());
            }
            _ => {}
        }
    }
    let undecided = undecided(run, place, criterion);
    let expected = run.evidence.expected(place);
    // If only a part of the trials was run, as by `vexfs-validate guest`, the others are not
    // reported.
    let part = run.evidence.is_part();
    let ends = run.evidence.trial_ends(criterion, place);
    let ends = ends.filter(|(_, end)| !(part && **end == TrialEnd::NotRun));
    let cases = ends.map(|(trial, end)| Case {
        class: format!("{place}.{}", criterion.id()),
        seconds: seconds.get(trial).copied().unwrap_or_default(),
        outcome: match end {
            TrialEnd::Passed => {
                undecided.get(trial).cloned().map_or(CaseResult::Passed, CaseResult::Skipped)
            }
            TrialEnd::Skipped(reason) if !expected.contains(trial) => {
                CaseResult::Skipped(reason.clone())
            }
            end => details::bad(run, place, trial, end, nextest.output(place, trial)),
        },
        name: trial.to_owned(),
    });
    Suite {
        name: format!("{place}.{}", criterion.id()),
        cases: cases.collect(),
        properties: properties(run, place, clocks),
        began_ms: records()
            .next()
            .or_else(|| run.evidence.records(place).next())
            .or_else(|| run.records().next())
            .map_or(0, |record| record.time_ms),
        notes: verdict_of(run, criterion),
        errors: String::new(),
    }
}

/// Why trials of a criterion that passed in `place` still count as skipped: their ratio is
/// undecided.
fn undecided(run: &Run, place: Place, criterion: Criterion) -> BTreeMap<String, String> {
    let trial_of: BTreeMap<&str, &str> = run
        .measurements()
        .filter(|(at, _)| *at == place)
        .map(|(_, one)| (one.rule.as_str(), one.trial.as_str()))
        .collect();
    let verdict = || run.verdict.criteria.iter().filter(|one| one.id == criterion);
    let recorded = verdict()
        .flat_map(|one| &one.recorded)
        .filter(|one| one.place == place && one.decides && one.outcome == Outcome::Inconclusive)
        .map(|one| (one.trial.clone(), format!("INCONCLUSIVE: {}", one.summary())));
    verdict()
        .flat_map(|one| &one.ratios)
        .filter(|one| one.place == place && one.decides && one.outcome == Outcome::Inconclusive)
        .filter_map(|one| {
            let trial = trial_of.get(one.rule.as_str())?;
            Some(((*trial).to_owned(), format!("INCONCLUSIVE: {} {}", one.title, one.note)))
        })
        .chain(recorded)
        .collect()
}

fn properties(run: &Run, place: Place, clocks: BTreeSet<&str>) -> Vec<(&'static str, String)> {
    let here = run.environment(place);
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let kernel = match place {
        Place::Host => here.map(|one| one.kernel_release.clone()),
        Place::Guest => run.guest_kernel().map(str::to_owned),
    };
    let launched = run.launch.as_ref().filter(|_| place == Place::Guest);
    let accelerator = here
        .map(|one| one.accelerator)
        .or_else(|| launched.map(|launch| launch.accelerator.into()))
        .map(|processor| processor.to_string());
    let clock = if clocks.is_empty() {
        let seen = here.and_then(|one| one.clock).or_else(|| launched.map(|launch| launch.clock));
        seen.unwrap_or(Clock::Wall).name().to_owned()
    } else {
        clocks.into_iter().collect::<Vec<_>>().join(", ")
    };
    vec![
        ("place", place.to_string()),
        ("kernel", known(kernel)),
        ("accelerator", known(accelerator)),
        ("clock", clock),
        ("commit", known(run.commit().map(str::to_owned))),
    ]
}

/// A case per criterion, but only for a whole run, which expects trials in both places.
/// `vexfs-validate guest` and the guests of a matrix give no verdict.
fn verdict(run: &Run) -> Option<Suite> {
    if Place::ALL.iter().any(|at| run.evidence.expected(*at).is_empty()) {
        return None;
    }
    let cases = run.verdict.criteria.iter().map(|one| Case {
        class: "verdict".to_owned(),
        name: format!("verdict::{}", one.id.id()),
        seconds: 0.0,
        outcome: match one.state {
            State::Pass => CaseResult::Passed,
            State::Fail => CaseResult::Failure(reasons(one)),
            State::Inconclusive => CaseResult::Error(reasons(one)),
        },
    });
    let known = |value: Option<&str>| value.unwrap_or("unknown").to_owned();
    Some(Suite {
        name: "verdict".to_owned(),
        cases: cases.collect(),
        properties: vec![
            ("verdict", run.verdict.state.to_string()),
            ("bare metal", run.verdict.bare_metal.state.to_string()),
            ("kernel", known(run.guest_kernel())),
            ("accelerator", id_of(run.verdict.accelerator)),
            ("commit", known(run.commit())),
        ],
        began_ms: run.records().next().map_or(0, |record| record.time_ms),
        notes: String::new(),
        errors: String::new(),
    })
}

/// Why a criterion is not PASS; the reasons that decide come first.
fn reasons(one: &CriterionVerdict) -> Bad {
    let mut reasons: Vec<_> = one.reasons.iter().collect();
    reasons.sort_by_key(|reason| reason.state != one.state);
    let more = match reasons.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let first = reasons.first().map_or("no reason is known", |reason| &reason.text);
    Bad {
        kind: match one.state {
            State::Fail => "FAIL",
            State::Inconclusive | State::Pass => "INCONCLUSIVE",
        },
        message: format!("{}: {}: {first}{more}", one.title, one.state),
        details: reasons
            .iter()
            .map(|reason| format!("{}: {}\n", reason.state, reason.text))
            .collect(),
    }
}

/// The verdict on the criterion, over both places.
fn verdict_of(run: &Run, criterion: Criterion) -> String {
    // `vexfs-validate guest` runs only a part of the trials, and so judges nothing.
    let judged = !run.evidence.expected(Place::Host).is_empty();
    let found = run.verdict.criteria.iter().find(|one| one.id == criterion);
    let Some(one) = found.filter(|_| judged) else { return String::new() };
    let mut text = format!("{}, over both places: {}\n", one.title, one.state);
    for reason in one.reasons.iter().filter(|_| one.state != State::Pass) {
        text += &format!("{}: {}\n", reason.state, reason.text);
    }
    text
}
