//! Failures that the test runner reports and no trial explains: a test that left a process behind,
//! or that died before its first record or after its last. No trial says whose fault it was, so
//! they leave every criterion open.

use std::collections::BTreeSet;

use evidence::place::Place;
use evidence::{Event, GuestFault, PhaseState, Record, TrialState};

use crate::trails::Evidence;

/// The failures in `places`, each as a reason.
pub(super) fn failures(evidence: &Evidence, places: &[Place]) -> Vec<String> {
    let mut reasons = Vec::new();
    for &place in places {
        reasons.extend(of_phases(evidence.records(place).as_slice(), place));
        if place == Place::Guest {
            reasons.extend(of_guests(evidence));
        }
    }
    reasons
}

/// Phases that failed although all their trials passed. The trials of a phase have their records
/// between its end and the phase record before it.
fn of_phases(records: &[Record], place: Place) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut trials = TrialsSeen::default();
    for record in records {
        match &record.event {
            Event::PhaseStarted { .. } => trials = TrialsSeen::default(),
            Event::PhaseFinished { phase, state, note, .. } => {
                if *state == PhaseState::Failed && trials.all_passed() {
                    let colon = if note.is_empty() { "" } else { ": " };
                    reasons.push(format!(
                        "phase '{phase}' ({place}) failed, and no trial in it says why{colon}{note}"
                    ));
                }
                trials = TrialsSeen::default();
            }
            event => trials.take(event),
        }
    }
    reasons
}

/// Guests whose command ended with another code than 0 although all their trials passed. A phase of
/// the guest that failed is reported already.
fn of_guests(evidence: &Evidence) -> Vec<String> {
    let guest = evidence.records(Place::Guest).as_slice();
    let mut reasons = Vec::new();
    let mut from = 0;
    for end in evidence.guest_ends() {
        let to = end.evidence.as_ref().map_or(from, |seen| seen.lines);
        let records = guest.get(from..to.min(guest.len())).unwrap_or_default();
        from = to;
        let mut trials = TrialsSeen::default();
        records.iter().for_each(|record| trials.take(&record.event));
        let phase_failed = records.iter().any(|record| {
            matches!(record.event, Event::PhaseFinished { state: PhaseState::Failed, .. })
        });
        if end.fault == GuestFault::None
            && end.code != Some(0)
            && trials.all_passed()
            && !phase_failed
        {
            reasons.push(format!("{}, and no trial in the guest says why", end.how));
        }
    }
    reasons
}

/// What a stretch of records says of its trials.
#[derive(Default)]
struct TrialsSeen<'e> {
    begun: BTreeSet<&'e str>,
    /// Whether one ended otherwise than passed, or began twice.
    any_red: bool,
}

impl<'e> TrialsSeen<'e> {
    fn take(&mut self, event: &'e Event) {
        match event {
            Event::TrialStarted { trial } => self.any_red |= !self.begun.insert(trial),
            Event::TrialFinished { trial, state, .. } => {
                self.begun.remove(trial.as_str());
                self.any_red |= *state != TrialState::Passed;
            }
            _ => {}
        }
    }

    /// Whether no trial explains a failure: all that began have passed.
    fn all_passed(&self) -> bool {
        !self.any_red && self.begun.is_empty()
    }
}
