//! nextest's own JUnit files in a run's directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use evidence::place::Place;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus};

use super::suite::{Bad, Case, CaseResult, Suite};

/// The report of a guest's last nextest run, which `fixtures/guest/init.sh` leaves behind.
const GUESTS_LAST: &str = "nextest-junit.xml";

/// The path, in a run's directory, of the JUnit file that nextest wrote for a place and phase.
pub fn raw_file(place: Place, phase: &str) -> String {
    format!("junit-{place}-{phase}.xml")
}

/// The reports that nextest left behind.
pub(super) struct Nextest {
    reports: Vec<(Place, Report)>,
    outputs: BTreeMap<(Place, String), String>,
    /// Files that are not valid reports, and why.
    unreadable: Vec<String>,
}

impl Nextest {
    /// Reads what is in `dir`.
    pub(super) fn read(dir: &Path) -> Nextest {
        let mut read = Nextest { reports: vec![], outputs: BTreeMap::new(), unreadable: vec![] };
        for (place, path) in files(dir) {
            let report =
                fs::read_to_string(&path).map_err(|error| error.to_string()).and_then(|text| {
                    Report::deserialize_from_str(&text).map_err(|error| error.to_string())
                });
            match report {
                Ok(report) => read.reports.push((place, report)),
                Err(why) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    read.unreadable.push(format!("{name}: {why}"));
                }
            }
        }
        for (place, report) in &read.reports {
            for case in report.test_suites.iter().flat_map(|suite| &suite.test_cases) {
                let output = output_of(case);
                if !output.is_empty() {
                    read.outputs.insert((*place, case.name.as_str().to_owned()), output);
                }
            }
        }
        read
    }

    /// What a trial printed. nextest keeps it only for trials that failed.
    pub(super) fn output(&self, place: Place, trial: &str) -> Option<&str> {
        self.outputs.get(&(place, trial.to_owned())).map(String::as_str)
    }

    /// Tests that the evidence does not know, and files that could not be read.
    pub(super) fn others(&self, trials: &BTreeSet<(Place, String)>) -> Vec<Suite> {
        let mut suites: Vec<Suite> = Vec::new();
        for (place, report) in &self.reports {
            for suite in &report.test_suites {
                let unknown =
                    |case: &&TestCase| !trials.contains(&(*place, case.name.as_str().to_owned()));
                let class = format!("{place}.{}", suite.name.as_str().replace("::", "."));
                let cases = suite.test_cases.iter().filter(unknown).map(|case| of(case, &class));
                suites.push(Suite {
                    name: class.clone(),
                    properties: vec![("place", place.to_string())],
                    began_ms: suite
                        .timestamp
                        .map_or(0, |at| u64::try_from(at.timestamp_millis()).unwrap_or_default()),
                    cases: cases.collect(),
                    ..Suite::default()
                });
            }
        }
        if !self.unreadable.is_empty() {
            let errors = self.unreadable.join("\n");
            suites.push(Suite { name: "nextest".to_owned(), errors, ..Suite::default() });
        }
        suites
    }
}

/// The files and the place of each. `vexfs-validate guest` has only the file that its guest left
/// behind.
fn files(dir: &Path) -> Vec<(Place, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let of = |place: Place| {
        let beginning = format!("junit-{place}-");
        let is_one = move |name: &&String| name.starts_with(&beginning) && name.ends_with(".xml");
        names.iter().filter(is_one).map(|name| (place, dir.join(name))).collect::<Vec<_>>()
    };
    let (mut all, mut guest) = (of(Place::Host), of(Place::Guest));
    let left = dir.join(GUESTS_LAST);
    if guest.is_empty() && left.is_file() {
        guest.push((Place::Guest, left));
    }
    all.extend(guest);
    all
}

fn output_of(case: &TestCase) -> String {
    let streams = [&case.system_out, &case.system_err];
    let said: Vec<&str> = streams.into_iter().flatten().map(|text| text.as_str()).collect();
    said.join("\n").trim().to_owned()
}

fn of(case: &TestCase, class: &str) -> Case {
    let text = |text: &Option<quick_junit::XmlString>| {
        text.as_ref().map(|text| text.as_str().to_owned()).unwrap_or_default()
    };
    let outcome = match &case.status {
        TestCaseStatus::Success { .. } => CaseResult::Passed,
        TestCaseStatus::Skipped { message, .. } => CaseResult::Skipped(text(message)),
        TestCaseStatus::NonSuccess { kind, message, description, .. } => {
            let details = format!("{}\n{}", text(description), output_of(case));
            let (message, is_error) = (text(message), *kind == NonSuccessKind::Error);
            if is_error {
                CaseResult::Error(Bad { kind: "never ended", message, details })
            } else {
                CaseResult::Failure(Bad { kind: "failed", message, details })
            }
        }
    };
    Case {
        class: class.to_owned(),
        name: case.name.as_str().to_owned(),
        seconds: case.time.map_or(0.0, |time| time.as_secs_f64()),
        outcome,
    }
}
