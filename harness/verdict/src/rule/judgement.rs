//! States, and how reasons add up to one.

use std::fmt;

use serde::{Deserialize, Serialize};

use evidence::stats::Outcome;

/// A criterion's state. Ordered by precedence: one FAIL outweighs any INCONCLUSIVE, and one
/// INCONCLUSIVE any number of PASS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It holds, with evidence.
    Pass,
    /// Not decided: not run, damaged, or between the bounds.
    Inconclusive,
    /// It does not hold.
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
}

/// Reasons, gathered. Without one, the state is PASS.
#[derive(Debug, Default)]
pub struct Judgement {
    reasons: Vec<Reason>,
}

impl Judgement {
    /// Something failed.
    pub fn fail(&mut self, text: impl Into<String>) {
        self.reasons.push(Reason { state: State::Fail, text: text.into() });
    }

    /// Something is not decided.
    pub fn inconclusive(&mut self, text: impl Into<String>) {
        self.reasons.push(Reason { state: State::Inconclusive, text: text.into() });
    }

    /// What the reasons add up to.
    #[must_use]
    pub fn state(&self) -> State {
        self.reasons.iter().map(|reason| reason.state).max().unwrap_or(State::Pass)
    }

    /// The reasons, the weightiest first, otherwise as they came.
    #[must_use]
    pub fn into_reasons(mut self) -> Vec<Reason> {
        self.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
        self.reasons
    }
}
