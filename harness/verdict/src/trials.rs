//! Checks a criterion's trials against the expected-tests manifest.

use std::collections::BTreeSet;

use evidence::GuestFault;
use evidence::criterion::Criterion;
use evidence::place::Place;

use crate::host_changed;
use crate::rule::judgement::{Judgement, Reason, State, What};
use crate::trails::Evidence;
use crate::trial_end::{TrialEnd, UNENDED};

/// How many trials of a criterion were expected, and how many passed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub passed: usize,
    pub expected: usize,
}

/// What the verdict says about an expected trial that has no record.
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
    if criterion == Criterion::Module {
        guest_ends(evidence, judgement);
    }
    for &place in places {
        let nothing_expected = evidence.expected(place).is_empty();
        if nothing_expected && place == Place::Host {
            judgement.inconclusive("the evidence names no trial that the host must run");
        }
        let is_of_criterion = |trial: &&String| Criterion::of_trial(trial) == Some(criterion);
        let expected: BTreeSet<&str> =
            evidence.expected(place).iter().filter(is_of_criterion).map(String::as_str).collect();
        if expected.is_empty() && place == Place::Guest {
            judgement.inconclusive("the evidence names no trial that the guest must run");
        }
        count.expected += expected.len();
        let (due, others): (Vec<_>, Vec<_>) =
            evidence.trial_ends(criterion, place).partition(|(trial, _)| expected.contains(trial));
        for (trial, end) in due {
            match end.against() {
                None => count.passed += 1,
                Some(against) => count_against(trial, place, end, against, evidence, judgement),
            }
        }
        for (trial, end) in others {
            match (end, end.against()) {
                (TrialEnd::Skipped(_), _) => {}
                // A failure counts, whether somebody expected the trial or not.
                (TrialEnd::Failed(_) | TrialEnd::Began, Some(against)) => {
                    count_against(trial, place, end, against, evidence, judgement);
                }
                // If nothing was expected, no trial is unexpected; that case is reported above.
                _ if nothing_expected => {}
                _ => judgement.inconclusive(format!(
                    "{trial} ({place}) is not in the expected-tests manifest; \
                     update it with: vexfs-validate list --update"
                )),
            }
        }
    }
    count
}

/// Judges how the guests ended, and what their kernels told of between the trials.
fn guest_ends(evidence: &Evidence, judgement: &mut Judgement) {
    for end in evidence.guest_ends() {
        match end.fault {
            GuestFault::None => {}
            GuestFault::Kernel => judgement.fail(end.how.clone()),
            // A module may have made it hang until somebody lost patience.
            GuestFault::Other => judgement.inconclusive(end.how.clone()),
        }
    }
    for headline in evidence.trouble_beside_trials() {
        judgement.inconclusive(format!(
            "the guest's kernel told of trouble that fell into no trial: {headline}"
        ));
    }
}

/// Counts a trial that did not pass.
fn count_against(
    trial: &str,
    place: Place,
    end: &TrialEnd,
    (state, what): (State, What),
    evidence: &Evidence,
    judgement: &mut Judgement,
) {
    let stale = match end {
        TrialEnd::Began => return died(trial, place, evidence, judgement),
        TrialEnd::Failed(message) if place == Place::Guest => {
            host_changed::excuses(&evidence.host_changes(), message)
        }
        _ => None,
    };
    judgement.add(match stale {
        Some(why) => Reason::of_trial(State::Inconclusive, trial, place, What::NotDecided, &why),
        None => Reason::of_trial(state, trial, place, what, end.why()),
    });
}

/// Judges a trial that never ended. If the kernel went down, the module is to blame; otherwise
/// somebody stopped the trial.
fn died(trial: &str, place: Place, evidence: &Evidence, judgement: &mut Judgement) {
    match evidence.guest_end() {
        Some(end) if place == Place::Guest && end.fault == GuestFault::Kernel => {
            judgement.fail(format!("{trial} (guest) began, and then: {}", end.how));
        }
        Some(end) if place == Place::Guest && end.fault == GuestFault::Other => {
            judgement.inconclusive(format!("{trial} (guest) began, and then: {}", end.how));
        }
        _ => judgement.inconclusive(format!("{trial} ({place}) {UNENDED}")),
    }
}
