//! What became of a trial, and the words for it.

use std::collections::BTreeMap;

use evidence::{Event, Record, TrialState};

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
    /// It was not tried, since another trial has found what keeps it from that.
    NotTried(String),
}

/// What is said of a trial, or of a phase, that began and has no end.
pub(crate) const UNENDED: &str = "began and never ended";

/// The last word on each trial. A failure stays, and what was not decided: a retry that passes does
/// not undo it.
pub(crate) fn of_records<'a>(records: impl Iterator<Item = &'a Record>) -> BTreeMap<String, Fate> {
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    for record in records {
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
            Event::TrialFinished { trial, state: TrialState::NotTried, message, .. } => {
                (trial, Fate::NotTried(message.clone()))
            }
            _ => continue,
        };
        // The guest is booted once more for the instruction clock: that a trial began there again
        // must not hide that it had no end before.
        if let (Fate::Began, Some(Fate::Began)) = (&fate, fates.get(trial)) {
            fate = Fate::Failed("it began twice, and did not end the first time".to_owned());
        }
        if matches!(fates.get(trial), Some(Fate::Failed(_)))
            || matches!(
                (fates.get(trial), &fate),
                (Some(Fate::Undecided(_) | Fate::NotTried(_)), Fate::Passed | Fate::Began)
            )
        {
            continue;
        }
        fates.insert(trial.clone(), fate);
    }
    fates
}
