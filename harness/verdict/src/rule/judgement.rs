//! States, and how reasons combine into one.

use std::fmt;

use serde::{Deserialize, Serialize};

use evidence::place::Place;
use evidence::stats::Outcome;

/// A criterion's state, ordered by precedence: one FAIL outweighs any number of INCONCLUSIVE, and
/// one INCONCLUSIVE any number of PASS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Met, with evidence.
    Pass,
    /// Not decided: not run, damaged, or between the bounds.
    Inconclusive,
    /// Not met.
    Fail,
}

impl From<Outcome> for State {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => State::Pass,
            Outcome::Fail => State::Fail,
            Outcome::Inconclusive => State::Inconclusive,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Pass => "PASS",
            State::Inconclusive => "INCONCLUSIVE",
            State::Fail => "FAIL",
        })
    }
}

/// Why a criterion is not PASS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The state that it alone would lead to.
    pub state: State,
    /// What happened.
    pub text: String,
    /// The trial that it is about, for grouping reasons by cause. The text names it too, so it is
    /// not serialised.
    #[serde(skip)]
    pub(crate) of: Option<OfTrial>,
}

/// A trial or a ratio that counts against a PASS, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfTrial {
    pub(crate) trial: String,
    pub(crate) place: Place,
    pub(crate) what: What,
    /// The trial's message; empty if there is none.
    pub(crate) why: String,
}

/// What happened to the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Failed,
    NotDecided,
    NotRun,
    NotTried,
    Skipped,
    /// Only for a ratio.
    NotMeasured,
}

impl What {
    fn of_one(self) -> &'static str {
        match self {
            What::Failed => "failed",
            What::NotDecided => "is not decided",
            What::NotRun | What::NotTried => "was not run",
            What::Skipped => "was skipped in its place",
            What::NotMeasured => "was not measured",
        }
    }

    pub(crate) fn of_many(self) -> &'static str {
        match self {
            What::Failed => "trials failed",
            What::NotDecided => "trials are not decided",
            What::NotRun | What::NotTried => "trials were not run",
            What::Skipped => "trials were skipped in their place",
            What::NotMeasured => "ratios were not measured",
        }
    }
}

impl Reason {
    /// A deciding ratio is missing; `text` says so.
    pub(crate) fn of_ratio(title: &str, place: Place, text: String) -> Reason {
        let (trial, why) = (title.to_owned(), String::new());
        let of = OfTrial { trial, place, what: What::NotMeasured, why };
        Reason { state: State::Inconclusive, text, of: Some(of) }
    }

    /// `what` happened to a trial; `why` may be empty.
    pub(crate) fn of_trial(
        state: State,
        trial: &str,
        place: Place,
        what: What,
        why: &str,
    ) -> Reason {
        // `what` already says that it was not tried.
        let why = why.strip_prefix("not tried: ").unwrap_or(why);
        let colon = if why.is_empty() { "" } else { ": " };
        let text = format!("{trial} ({place}) {}{colon}{why}", what.of_one());
        let (trial, why) = (trial.to_owned(), why.to_owned());
        Reason { state, text, of: Some(OfTrial { trial, place, what, why }) }
    }
}

/// Collects reasons. Without any, the state is PASS.
#[derive(Debug, Default)]
pub struct Judgement {
    reasons: Vec<Reason>,
}

impl Judgement {
    /// Something failed.
    pub fn fail(&mut self, text: impl Into<String>) {
        self.reasons.push(Reason { state: State::Fail, text: text.into(), of: None });
    }

    /// Something is not decided.
    pub fn inconclusive(&mut self, text: impl Into<String>) {
        self.reasons.push(Reason { state: State::Inconclusive, text: text.into(), of: None });
    }

    /// Adds how a trial or a ratio counts against a PASS.
    pub(crate) fn add(&mut self, reason: Reason) {
        self.reasons.push(reason);
    }

    /// The state that the reasons add up to.
    pub fn state(&self) -> State {
        self.reasons.iter().map(|reason| reason.state).max().unwrap_or(State::Pass)
    }

    /// The reasons, the most severe first, otherwise in the order in which they came.
    pub fn into_reasons(mut self) -> Vec<Reason> {
        self.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
        self.reasons
    }
}
