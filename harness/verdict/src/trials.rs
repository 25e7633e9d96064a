//! A criterion's trials, against the expected-tests manifest.

use std::collections::{BTreeMap, BTreeSet};

use evidence::criterion::Criterion;
use evidence::place::Place;
use evidence::{Event, GuestFault, TrialState};

use crate::rule::judgement::Judgement;
use crate::trails::Evidence;

/// How many trials a criterion has, and how many held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub passed: usize,
    pub expected: usize,
}

/// What became of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was expected, and nothing is known of it.
    NotRun,
    /// It was skipped, with the reason.
    Skipped(String),
    /// It began, and its end is missing.
    Began,
    /// It held.
    Passed,
    /// It did not, and why.
    Failed(String),
    /// Nobody can say, and why.
    Undecided(String),
}

impl Evidence {
    /// What became of the trials of `criterion` in `place`: those expected, and all others.
    #[must_use]
    pub fn fates(&self, criterion: Criterion, place: Place) -> BTreeMap<String, Fate> {
        let mut fates: BTreeMap<String, Fate> = self
            .expected(place)
            .into_iter()
            .filter(|trial| Criterion::of_trial(trial) == Some(criterion))
            .map(|trial| (trial, Fate::NotRun))
            .collect();
        fates.extend(fates_of(criterion, self, place));
        fates
    }

    /// The trials that `place` must run, as the manifest was when the run began.
    #[must_use]
    pub fn expected(&self, place: Place) -> BTreeSet<String> {
        self.records(Place::Host)
            .filter_map(|record| match &record.event {
                Event::Expected { at, trials } if *at == place => Some(trials),
                _ => None,
            })
            .flatten()
            .cloned()
            .collect()
    }
}

impl Evidence {
    /// Headlines on the guest's console that no trial has in its part of the kernel log: what came
    /// between trials, before or after them, and so made none of them fail.
    fn trouble_beside_trials(&self) -> Vec<&str> {
        let logged: Vec<&str> = self
            .records(Place::Guest)
            .filter_map(|record| match &record.event {
                Event::KernelLog { lines, .. } => Some(lines),
                _ => None,
            })
            .flatten()
            .map(String::as_str)
            .collect();
        self.records(Place::Host)
            .filter_map(|record| match &record.event {
                // Where the kernel went down it is accused already.
                Event::GuestEnded(end) if end.fault != GuestFault::Kernel => Some(&end.trouble),
                _ => None,
            })
            .flatten()
            .map(String::as_str)
            .filter(|headline| !logged.iter().any(|line| line.contains(headline)))
            .collect()
    }

    /// Whether it is of a command in the guest (`vexfs-validate guest`), which may run a part of the
    /// guest's trials: nothing was expected of the host. It can show much, and never all.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.expected(Place::Host).is_empty() && !self.expected(Place::Guest).is_empty()
    }
}

/// What the verdict says of an expected trial of which nothing is known.
#[must_use]
pub fn not_run(trial: &str, place: Place) -> String {
    format!("{trial} ({place}) was not run")
}

pub(super) fn judge(
    criterion: Criterion,
    evidence: &Evidence,
    places: &[Place],
    judgement: &mut Judgement,
) -> Count {
    let mut count = Count::default();
    if let Some(end) = evidence.guest_end()
        && end.fault == GuestFault::Kernel
        && criterion == Criterion::Module
    {
        judgement.fail(end.how.clone());
    }
    if criterion == Criterion::Module {
        for headline in evidence.trouble_beside_trials() {
            judgement.inconclusive(format!(
                "the guest's kernel told of trouble that fell into no trial: {headline}"
            ));
        }
    }
    for &place in places {
        let fates = evidence.fates(criterion, place);
        let mut expected = evidence.expected(place);
        let nothing_expected = expected.is_empty();
        if nothing_expected && place == Place::Host {
            judgement.inconclusive("the evidence names no trial that the host must run");
        }
        expected.retain(|trial| Criterion::of_trial(trial) == Some(criterion));
        if expected.is_empty() && place == Place::Guest {
            judgement.inconclusive("the evidence names no trial that the guest must run");
        }
        for trial in &expected {
            count.expected += 1;
            match fates.get(trial) {
                Some(Fate::Passed) => count.passed += 1,
                Some(Fate::Failed(message)) => {
                    judgement.fail(format!("{trial} ({place}) failed: {message}"));
                }
                Some(Fate::Undecided(why)) => {
                    judgement.inconclusive(format!("{trial} ({place}) is not decided: {why}"));
                }
                Some(Fate::Began) => died(trial, place, evidence, judgement),
                Some(Fate::Skipped(reason)) => judgement
                    .inconclusive(format!("{trial} ({place}) was skipped in its place: {reason}")),
                Some(Fate::NotRun) | None => {
                    judgement.inconclusive(not_run(trial, place));
                }
            }
        }
        // Where nothing is expected at all, nothing is unknown: that is said above.
        for (trial, fate) in fates.iter().filter(|_| !nothing_expected) {
            if !expected.contains(trial) && !matches!(fate, Fate::Skipped(_)) {
                judgement.inconclusive(format!(
                    "{trial} ({place}) is not in the expected-tests manifest; \
                     update it with: vexfs-validate list --update"
                ));
            }
        }
    }
    count
}

/// A trial without an end. If the kernel went down under it that is the module's fault; else
/// somebody stopped it.
fn died(trial: &str, place: Place, evidence: &Evidence, judgement: &mut Judgement) {
    match evidence.guest_end() {
        Some(end) if place == Place::Guest && end.fault == GuestFault::Kernel => {
            judgement.fail(format!("{trial} (guest) began, and then: {}", end.how));
        }
        Some(end) if place == Place::Guest && end.fault == GuestFault::Other => {
            judgement.inconclusive(format!("{trial} (guest) began, and then: {}", end.how));
        }
        _ => judgement.inconclusive(format!("{trial} ({place}) began and never ended")),
    }
}

/// The last word on each trial. A failure stays, and what was not decided: a retry that passes does
/// not undo it.
fn fates_of(criterion: Criterion, evidence: &Evidence, place: Place) -> BTreeMap<String, Fate> {
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    for record in evidence.records(place) {
        let (trial, mut fate) = match &record.event {
            Event::Skipped { trial, reason } => (trial, Fate::Skipped(reason.clone())),
            Event::TrialStarted { trial } => (trial, Fate::Began),
            Event::TrialFinished { trial, state: TrialState::Passed, .. } => (trial, Fate::Passed),
            Event::TrialFinished { trial, state: TrialState::Failed, message, .. } => {
                (trial, Fate::Failed(message.clone()))
            }
            Event::TrialFinished { trial, state: TrialState::Undecided, message, .. } => {
                (trial, Fate::Undecided(message.clone()))
            }
            _ => continue,
        };
        // The guest is booted once more for the instruction clock: that a trial began there again
        // must not hide that it had no end before.
        if let (Fate::Began, Some(Fate::Began)) = (&fate, fates.get(trial)) {
            fate = Fate::Failed("it began twice, and did not end the first time".to_owned());
        }
        if Criterion::of_trial(trial) != Some(criterion)
            || matches!(fates.get(trial), Some(Fate::Failed(_)))
            || matches!(
                (fates.get(trial), &fate),
                (Some(Fate::Undecided(_)), Fate::Passed | Fate::Began)
            )
        {
            continue;
        }
        fates.insert(trial.clone(), fate);
    }
    fates
}
