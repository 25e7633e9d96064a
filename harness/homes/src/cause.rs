//! A daemon that does not start, or a module that does not load, fails one trial. The other trials
//! report "not tried" and name that one, instead of failing for the same reason again.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use evidence::criterion::Criterion;
use evidence::place::Place;
use machine::place;

use crate::trial_name;

/// The trials that are about starting or loading: they always try.
const ALWAYS_TRY: [&str; 2] = ["fuse::mounts_as_fuse", "module::loads_and_is_listed"];

/// nextest's name for the run to which this process belongs.
const RUN: &str = "NEXTEST_RUN_ID";

/// Trials of this process that found a cause, by the cause.
static FOUND: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The directory of the run that this process belongs to, if it belongs to one.
fn directory() -> Option<PathBuf> {
    let here = place::here();
    match here.place {
        Place::Guest => here.evidence_dir.clone(),
        Place::Host => std::env::var_os(place::DIR_VARIABLE).map(PathBuf::from),
    }
}

/// Something that keeps a home from being tried in the trials of a criterion.
pub(crate) struct Cause {
    key: String,
    trial: String,
}

impl Cause {
    /// For the trial of this thread: `what` keeps the home from being tried, such as mount options;
    /// nothing where it cannot be tried at all.
    pub(crate) fn of_this_trial(what: &str) -> Cause {
        let trial = trial_name::current().unwrap_or_default();
        let criterion = Criterion::of_trial(&trial).map_or("", Criterion::id);
        let what: String =
            what.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
        Cause { key: format!("{criterion}{what}"), trial }
    }

    /// Where the processes of a run leave it for each other, where they have a place.
    fn file(&self) -> Option<PathBuf> {
        let run = std::env::var(RUN).ok()?;
        Some(directory()?.join(format!("not-starting-{run}-{}", self.key)))
    }

    /// The trial that found it, unless this is one that finds for itself.
    pub(crate) fn found_by(&self) -> Option<String> {
        if self.trial.is_empty() || ALWAYS_TRY.contains(&self.trial.as_str()) {
            return None;
        }
        let here = FOUND.lock().unwrap_or_else(PoisonError::into_inner).get(&self.key).cloned();
        here.or_else(|| std::fs::read_to_string(self.file()?).ok())
    }

    /// Lets the other trials know.
    pub(crate) fn note(&self) {
        if self.trial.is_empty() {
            return;
        }
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        found.entry(self.key.clone()).or_insert_with(|| self.trial.clone());
        if let Some(path) = self.file()
            && let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(path)
        {
            // Without it others find it for themselves.
            let _ = file.write_all(self.trial.as_bytes());
        }
    }
}
