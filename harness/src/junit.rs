//! The run's JUnit file: nextest's of both places, with our reasons and right counts.
//!
//! nextest writes a skip with a generic message only, and knows nothing of INCONCLUSIVE; the
//! evidence does. A trial whose deciding ratio is INCONCLUSIVE is shown as skipped, with the
//! ratio: CI must not count it as a pass.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::evidence::{Event, read_trail};
use crate::failure::{Failure, While};
use crate::place::Place;
use crate::stats::Outcome;
use crate::verdict::Verdict;

/// Where the JUnit file of a place lies in a run's directory, as nextest wrote it.
#[must_use]
pub fn raw_file(place: Place, phase: &str) -> String {
    format!("junit-{place}-{phase}.xml")
}

/// Merges the files that nextest left in `dir` into one report.
///
/// # Errors
/// Where one of them cannot be read or is no JUnit.
pub fn merge(dir: &Path, verdict: &Verdict) -> Result<Report, Failure> {
    let mut merged = Report::new("vexfs-validation");
    let mut names: Vec<_> = fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("junit-") && name.ends_with(".xml"))
        .collect();
    names.sort();
    for name in names {
        let place = if name.starts_with("junit-guest-") { Place::Guest } else { Place::Host };
        let text = fs::read_to_string(dir.join(&name)).when(&name)?;
        let report = Report::deserialize_from_str(&text).when(&name)?;
        let notes = Notes::of(dir, place, verdict)?;
        for suite in report.test_suites {
            add(&mut merged, suite, place, verdict, &notes);
        }
    }
    Ok(merged)
}

/// Why trials of a place count as skipped, by name.
struct Notes(BTreeMap<String, String>);

impl Notes {
    fn of(dir: &Path, place: Place, verdict: &Verdict) -> Result<Notes, Failure> {
        let mut notes = BTreeMap::new();
        let mut by_rule: BTreeMap<String, String> = BTreeMap::new();
        for record in read_trail(dir, place)?.into_iter().flat_map(|trail| trail.records) {
            match record.event {
                Event::Skipped { trial, reason } => {
                    notes.insert(trial, reason);
                }
                Event::Measurement(one) => {
                    by_rule.insert(one.rule, one.trial);
                }
                _ => {}
            }
        }
        let undecided = verdict.criteria.iter().flat_map(|one| &one.ratios).filter(|ratio| {
            ratio.place == place && ratio.decides && ratio.outcome == Outcome::Inconclusive
        });
        for ratio in undecided {
            if let Some(trial) = by_rule.get(&ratio.rule) {
                notes
                    .insert(trial.clone(), format!("INCONCLUSIVE: {} {}", ratio.title, ratio.note));
            }
        }
        Ok(Notes(notes))
    }
}

/// nextest counts and names per binary; the merged suite counts anew.
fn add(merged: &mut Report, suite: TestSuite, place: Place, verdict: &Verdict, notes: &Notes) {
    let mut fresh = TestSuite::new(format!("{place}/{}", suite.name.as_str()));
    fresh.timestamp = suite.timestamp;
    fresh.time = suite.time;
    for property in suite.properties {
        fresh.add_property(property);
    }
    fresh.add_property(("place", place.to_string().as_str()));
    let accelerator = if place == Place::Host { "native" } else { &verdict.accelerator };
    fresh.add_property(("accelerator", accelerator));
    for mut case in suite.test_cases {
        if let Some(reason) = notes.0.get(case.name.as_str())
            && skippable(&case)
        {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.clone());
            case.status = status;
        }
        fresh.add_test_case(case);
    }
    merged.add_test_suite(fresh);
}

/// A failure stays a failure whatever else is known of the trial.
fn skippable(case: &TestCase) -> bool {
    !matches!(
        case.status,
        TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure | NonSuccessKind::Error, .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Writer;
    use crate::verdict::Evidence;

    const HOST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="vexfs-validation host" tests="3" failures="1" errors="0">
    <testsuite name="vexfs-validation::module" tests="3" disabled="1" errors="0" failures="1">
        <testcase name="module::loads" classname="vexfs-validation::module">
            <skipped message="skipped by nextest"/>
        </testcase>
        <testcase name="module::broken" classname="vexfs-validation::module">
            <failure message="it broke" type="test failure">it broke</failure>
        </testcase>
        <testcase name="module::fine" classname="vexfs-validation::module"/>
    </testsuite>
</testsuites>
"#;

    #[test]
    fn skips_carry_our_reasons_and_counts_are_right() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(dir.path(), Place::Host).unwrap();
        for (trial, reason) in [
            ("module::loads", "belongs to the guest"),
            ("module::broken", "a failure stays a failure"),
        ] {
            let event = Event::Skipped { trial: trial.to_owned(), reason: reason.to_owned() };
            writer.write(event).unwrap();
        }
        fs::write(dir.path().join(raw_file(Place::Host, "1")), HOST).unwrap();
        let verdict = crate::verdict::of(&Evidence::read(dir.path()).unwrap());
        let report = merge(dir.path(), &verdict).unwrap();
        insta::assert_snapshot!(report.to_string().unwrap());
    }

    #[test]
    fn a_file_that_is_no_junit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        Writer::open(dir.path(), Place::Host).unwrap();
        fs::write(dir.path().join("junit-host-1.xml"), "<html>").unwrap();
        let verdict = crate::verdict::of(&Evidence::read(dir.path()).unwrap());
        let message = merge(dir.path(), &verdict).unwrap_err().to_string();
        assert!(message.starts_with("junit-host-1.xml: "), "{message}");
    }
}
