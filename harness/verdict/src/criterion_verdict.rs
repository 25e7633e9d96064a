//! A judged criterion.

use evidence::criterion::Criterion;
use serde::{Deserialize, Serialize};

use crate::rule::judgement::{Reason, State};
use crate::rule::ratios::JudgedRatio;
use crate::rule::recorded::JudgedFigure;

/// One criterion's state and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CriterionVerdict {
    /// [`Criterion::id`].
    pub id: Criterion,
    /// [`Criterion::title`].
    pub title: String,
    /// Its state.
    pub state: State,
    /// Trials that passed, over both places.
    pub passed: usize,
    /// Trials that were expected, over both places.
    pub expected: usize,
    /// Why it is not PASS.
    pub reasons: Vec<Reason>,
    /// The ratios measured for it.
    pub ratios: Vec<JudgedRatio>,
    /// Its comparisons with recorded figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recorded: Vec<JudgedFigure>,
    /// Other things that its evidence proves, for a person.
    pub notes: Vec<String>,
}
