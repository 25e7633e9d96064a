//! How a trial ended, in types and in words.

use std::collections::BTreeMap;

use evidence::{Event, Record, TrialState};

use crate::rule::judgement::{State, What};

/// How a trial ended, or why it did not reach an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialEnd {
    /// It was expected, but there is no record of it.
    NotRun,
    /// It was skipped, with the reason.
    Skipped(String),
    /// It began, but its end is missing.
    Began,
    /// It passed.
    Passed,
    /// It failed, and why.
    Failed(String),
    /// It could not be decided, and why.
    Undecided(String),
    /// It was not tried, because of a fault that an earlier trial found and that would make it
    /// fail.
    NotTried(String),
}

impl TrialEnd {
    /// One or two words for it, as in `fuse::rename: not decided`.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            TrialEnd::NotRun => "not run",
            TrialEnd::Skipped(_) => "skipped",
            TrialEnd::Began => UNENDED,
            TrialEnd::Passed => "passed",
            TrialEnd::Failed(_) => "failed",
            TrialEnd::Undecided(_) => "not decided",
            TrialEnd::NotTried(_) => "not tried",
        }
    }

    /// The reason that was recorded; empty if there is none.
    pub(crate) fn why(&self) -> &str {
        match self {
            TrialEnd::Skipped(why)
            | TrialEnd::Failed(why)
            | TrialEnd::Undecided(why)
            | TrialEnd::NotTried(why) => why,
            TrialEnd::NotRun | TrialEnd::Began | TrialEnd::Passed => "",
        }
    }

    /// How it counts against a PASS; `None` if the trial passed.
    pub(crate) fn against(&self) -> Option<(State, What)> {
        Some(match self {
            TrialEnd::Passed => return None,
            TrialEnd::Failed(_) => (State::Fail, What::Failed),
            TrialEnd::Undecided(_) | TrialEnd::Began => (State::Inconclusive, What::NotDecided),
            TrialEnd::NotTried(_) => (State::Inconclusive, What::NotTried),
            TrialEnd::Skipped(_) => (State::Inconclusive, What::Skipped),
            TrialEnd::NotRun => (State::Inconclusive, What::NotRun),
        })
    }
}

/// The words for a trial or a phase that began and has no end.
pub(crate) const UNENDED: &str = "began and never ended";

/// The final state of each trial. A trial that failed or was undecided stays so, even if a retry
/// passes.
pub(crate) fn of_records(records: &[Record]) -> BTreeMap<String, TrialEnd> {
    let mut ends: BTreeMap<String, TrialEnd> = BTreeMap::new();
    for record in records {
        let (trial, mut end) = match &record.event {
            Event::Skipped { trial, reason } => (trial, TrialEnd::Skipped(reason.clone())),
            Event::TrialStarted { trial } => (trial, TrialEnd::Began),
            Event::TrialFinished { trial, state: TrialState::Passed, .. } => {
                (trial, TrialEnd::Passed)
            }
            Event::TrialFinished { trial, state: TrialState::Failed, message, .. } => {
                (trial, TrialEnd::Failed(message.clone()))
            }
            Event::TrialFinished { trial, state: TrialState::Undecided, message, .. } => {
                (trial, TrialEnd::Undecided(message.clone()))
            }
            Event::TrialFinished { trial, state: TrialState::NotTried, message, .. } => {
                (trial, TrialEnd::NotTried(message.clone()))
            }
            _ => continue,
        };
        // For the instruction clock, the guest is booted a second time. A trial that begins again
        // there must not hide that it did not end before.
        if let (TrialEnd::Began, Some(TrialEnd::Began)) = (&end, ends.get(trial)) {
            end = TrialEnd::Failed("it began twice, and did not end the first time".to_owned());
        }
        if matches!(ends.get(trial), Some(TrialEnd::Failed(_)))
            || matches!(
                (ends.get(trial), &end),
                (
                    Some(TrialEnd::Undecided(_) | TrialEnd::NotTried(_)),
                    TrialEnd::Passed | TrialEnd::Began
                )
            )
        {
            continue;
        }
        ends.insert(trial.clone(), end);
    }
    ends
}
