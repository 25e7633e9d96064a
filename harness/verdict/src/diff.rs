//! Compares two runs: what changed in states, trials, skips and ratios.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::Path;

use evidence::criterion::Criterion;
use evidence::place::Place;
use evidence::processor::id_of;
use evidence::stats::Ratio;

use crate::judge::{self, Verdict};
use crate::rule::judgement::State;
use crate::rule::ratios::JudgedRatio;
use crate::trails::Evidence;

/// The word for something that only one of the runs has.
const ABSENT: &str = "absent";

/// The parts of a run that are compared.
struct JudgedRun {
    verdict: Verdict,
    /// How each trial ended, in words.
    trials: BTreeMap<String, String>,
}

/// Something that differs between the two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunChange {
    /// What it is.
    pub what: String,
    /// In the first run.
    pub before: String,
    /// In the second.
    pub after: String,
}

impl Display for RunChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.what, self.before, self.after)
    }
}

/// Everything that changed from one run to the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// The verdict, bare metal, accelerators and criteria.
    pub states: Vec<RunChange>,
    /// Trials that ended differently, including skips and their reasons.
    pub trials: Vec<RunChange>,
    /// Ratios whose outcome changed or whose intervals do not overlap. Noise alone rarely causes
    /// that.
    pub ratios: Vec<RunChange>,
}

impl Difference {
    /// Compares the runs of two directories.
    pub fn of(before: &Path, after: &Path) -> std::io::Result<Difference> {
        let (before, after) = (JudgedRun::read(before)?, JudgedRun::read(after)?);
        Ok(Difference {
            states: changes(&states(&before.verdict), &states(&after.verdict)),
            trials: changes(&before.trials, &after.trials),
            ratios: ratios(&before.verdict, &after.verdict),
        })
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty() && self.trials.is_empty() && self.ratios.is_empty()
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("states", &self.states),
            ("trials and skips", &self.trials),
            ("ratios", &self.ratios),
        ];
        for (heading, changes) in parts {
            let same = if changes.is_empty() { ": no change" } else { "" };
            writeln!(f, "{heading}{same}")?;
            for change in changes {
                writeln!(f, "  {}", change.to_string().replace('\n', "\n    "))?;
            }
        }
        Ok(())
    }
}

impl JudgedRun {
    fn read(dir: &Path) -> std::io::Result<JudgedRun> {
        let evidence = Evidence::read(dir)?;
        let mut trials = BTreeMap::new();
        for place in Place::ALL {
            for criterion in Criterion::ALL {
                trials.extend(evidence.trial_ends(criterion, place).map(|(trial, end)| {
                    let colon = if end.why().is_empty() { "" } else { ": " };
                    let told = format!("{}{colon}{}", end.words(), end.why());
                    (format!("{trial} ({place})"), told)
                }));
            }
        }
        Ok(JudgedRun { verdict: judge::of(&evidence), trials })
    }
}

fn states(verdict: &Verdict) -> BTreeMap<String, String> {
    let whole = [
        ("verdict", verdict.state.to_string()),
        ("bare metal", verdict.bare_metal.state.clone()),
        ("accelerator", id_of(verdict.accelerator)),
        ("damage", format!("{} of the evidence's lines", verdict.damage.len())),
    ];
    let criteria = verdict.criteria.iter().map(|one| {
        let state = format!("{}, {} of {} trials", one.state, one.passed, one.expected);
        (one.title.clone(), state)
    });
    whole.into_iter().map(|(name, state)| (name.to_owned(), state)).chain(criteria).collect()
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<RunChange> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value = |of: &BTreeMap<String, String>, name| {
        of.get(name).cloned().unwrap_or_else(|| ABSENT.to_owned())
    };
    names
        .into_iter()
        .map(|name| RunChange {
            what: name.clone(),
            before: value(before, name),
            after: value(after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

fn ratios(before: &Verdict, after: &Verdict) -> Vec<RunChange> {
    let by_name = |verdict: &Verdict| -> BTreeMap<String, JudgedRatio> {
        let all = verdict.criteria.iter().flat_map(|one| &one.ratios);
        all.map(|one| (format!("{} ({}, {})", one.title, one.place, one.clock.name()), one.clone()))
            .collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let shown = |one: Option<&JudgedRatio>| one.map_or_else(|| ABSENT.to_owned(), words);
    names
        .into_iter()
        .filter(|name| match (before.get(*name), after.get(*name)) {
            (Some(before), Some(after)) => differ(before, after),
            _ => true,
        })
        .map(|name| RunChange {
            what: name.clone(),
            before: shown(before.get(name)),
            after: shown(after.get(name)),
        })
        .collect()
}

fn differ(before: &JudgedRatio, after: &JudgedRatio) -> bool {
    let apart = |one: &Ratio, other: &Ratio| one.upper < other.lower || other.upper < one.lower;
    before.outcome != after.outcome
        || (before.threshold, before.decides) != (after.threshold, after.decides)
        || match (&before.ratio, &after.ratio) {
            (Some(before), Some(after)) => apart(before, after),
            (before, after) => before.is_some() != after.is_some(),
        }
}

fn words(one: &JudgedRatio) -> String {
    let state = State::from(one.outcome);
    one.ratio.map_or_else(
        || format!("no ratio, {state}"),
        |ratio| format!("{ratio} against {}, {state}", one.threshold),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares two golden runs of the report.
    fn between(before: &str, after: &str) -> Difference {
        let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs");
        Difference::of(&runs.join(before), &runs.join(after)).unwrap()
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        assert!(between("emulated", "emulated").is_empty());
    }

    #[rstest::rstest]
    #[case("emulated", "failed")]
    #[case("emulated", "skipped-in-the-guest")]
    #[case("panicked", "emulated")]
    fn what_changed_is_told(#[case] before: &str, #[case] after: &str) {
        insta::assert_snapshot!(format!("{before}-{after}"), between(before, after).to_string());
    }

    #[test]
    fn intervals_that_meet_are_no_change() {
        let ratio = |estimate: f64| JudgedRatio {
            rule: "x".into(),
            title: "x".into(),
            place: Place::Host,
            accelerator: Some(evidence::processor::Processor::Native),
            clock: evidence::clock::Clock::Wall,
            ratio: Some(Ratio {
                estimate,
                lower: estimate - 0.1,
                upper: estimate + 0.1,
                rounds: 20,
                alpha: 0.02,
            }),
            bootstrap: None,
            calibrated: None,
            slowed: None,
            speeds: None,
            recalls: (None, None),
            threshold: 1.0,
            strictly: false,
            improvement: true,
            outcome: evidence::stats::Outcome::Pass,
            decides: true,
            disturbances: None,
            note: String::new(),
        };
        assert!(!differ(&ratio(2.0), &ratio(2.15)));
        assert!(differ(&ratio(2.0), &ratio(2.25)));
    }
}
