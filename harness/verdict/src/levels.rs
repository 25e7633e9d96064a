//! How far each home has come, level by level, and what its author should do next.

use evidence::criterion::Criterion;
use evidence::level::Level;
use evidence::place::Place;
use serde::{Deserialize, Serialize};

use crate::causes::causes;
use crate::rule::judgement::{Reason, State};
use crate::trails::Evidence;
use crate::trial_end::TrialEnd;

/// A home, named after the criterion that tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichHome {
    /// Tested by criterion 1.
    Fuse,
    /// Tested by criterion 4.
    Module,
}

impl WhichHome {
    /// Both.
    pub const ALL: [WhichHome; 2] = [WhichHome::Fuse, WhichHome::Module];

    /// Human-readable name.
    pub fn title(self) -> &'static str {
        match self {
            WhichHome::Fuse => "FUSE daemon",
            WhichHome::Module => "kernel module",
        }
    }

    fn criterion(self) -> Criterion {
        match self {
            WhichHome::Fuse => Criterion::Fuse,
            WhichHome::Module => Criterion::Module,
        }
    }
}

/// What a home has reached at a level, over both places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelStanding {
    /// The home.
    pub home: WhichHome,
    /// The level.
    pub level: Level,
    /// Trials that passed.
    pub passed: usize,
    /// Trials that failed.
    pub failed: usize,
    /// Trials without a result: not run, not tried, not decided, cut off.
    pub open: usize,
    /// The causes of most failed or blocked trials; empty if all passed.
    pub why: Vec<String>,
}

impl LevelStanding {
    /// Whether all of its trials passed.
    pub fn is_reached(&self) -> bool {
        self.failed + self.open == 0
    }
}

/// All levels of each home that has at least one trial that ran, or that should have run and could
/// not.
pub(crate) fn of(evidence: &Evidence) -> Vec<LevelStanding> {
    let homes = WhichHome::ALL.into_iter();
    homes
        .flat_map(|home| {
            Level::ALL.into_iter().filter_map(move |level| standing(evidence, home, level))
        })
        .collect()
}

fn standing(evidence: &Evidence, home: WhichHome, level: Level) -> Option<LevelStanding> {
    let mut standing =
        LevelStanding { home, level, passed: 0, failed: 0, open: 0, why: Vec::new() };
    let mut reasons = Vec::new();
    let mut any_was_run = false;
    for place in Place::ALL {
        let expected = evidence.expected(place);
        for (trial, end) in evidence.trial_ends(home.criterion(), place) {
            any_was_run |= !matches!(end, TrialEnd::NotRun | TrialEnd::Skipped(_));
            if Level::of_trial(trial) != Some(level) || !expected.contains(trial) {
                continue;
            }
            let Some((state, what)) = end.against() else {
                standing.passed += 1;
                continue;
            };
            match state {
                State::Fail => standing.failed += 1,
                _ => standing.open += 1,
            }
            let why = if *end == TrialEnd::Began { "it never ended" } else { end.why() };
            reasons.push(Reason::of_trial(state, trial, place, what, why));
        }
    }
    standing.why = causes(&reasons).into_iter().map(|cause| cause.text).collect();
    let any = standing.passed + standing.failed + standing.open > 0;
    (any && any_was_run).then_some(standing)
}

/// The level to work on next: the first with a failed trial, or else the first with an open one.
pub(crate) fn first_lacking(
    standings: &[LevelStanding],
    home: WhichHome,
) -> Option<&LevelStanding> {
    let mut its = standings.iter().filter(|one| one.home == home);
    its.clone().find(|one| one.failed > 0).or_else(|| its.find(|one| !one.is_reached()))
}
