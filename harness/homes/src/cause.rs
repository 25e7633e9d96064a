//! A daemon that does not start, or a module that does not load, fails one trial. The other trials
//! report "not tried" and name that trial, instead of failing for the same reason again.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use evidence::criterion::Criterion;
use evidence::place::Place;
use machine::place;

use crate::trial_name;

/// The trials about starting or loading, which always make an attempt.
const ALWAYS_TRY: [&str; 2] = ["fuse::mounts_as_fuse", "module::loads_and_is_listed"];

/// Variable with nextest's id of the run that this process belongs to.
const RUN: &str = "NEXTEST_RUN_ID";

/// For each cause, the trial that found it, as far as this process knows.
pub type Found = BTreeMap<String, String>;

static FOUND: Mutex<Found> = Mutex::new(BTreeMap::new());

/// What this process knows, for another one that runs a trial for it, or has run one.
pub fn found() -> Found {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Adds what another process knows.
pub fn learn(theirs: Found) {
    let mut ours = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    for (key, trial) in theirs {
        ours.entry(key).or_insert(trial);
    }
}

/// The directory of the run that this process belongs to, if it belongs to one.
fn directory() -> Option<PathBuf> {
    let here = place::here();
    match here.place {
        Place::Guest => here.evidence_dir.clone(),
        Place::Host => std::env::var_os(place::DIR_VARIABLE).map(PathBuf::from),
    }
}

/// Something that prevents the trials of a criterion from using a home.
pub(crate) struct Cause {
    key: String,
    trial: String,
}

impl Cause {
    /// The cause for the trial of this thread. `what` names the circumstances in which the home
    /// cannot be used, such as mount options; it is empty if the home cannot be used at all.
    pub(crate) fn of_this_trial(what: &str) -> Cause {
        let trial = trial_name::current().unwrap_or_default();
        let criterion = Criterion::of_trial(&trial).map_or("", Criterion::id);
        let what: String =
            what.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
        Cause { key: format!("{criterion}{what}"), trial }
    }

    /// The file in which the processes of a run tell each other about this cause, if there is a
    /// place for it.
    fn file(&self) -> Option<PathBuf> {
        let run = std::env::var(RUN).ok()?;
        Some(directory()?.join(format!("not-starting-{run}-{}", self.key)))
    }

    /// The trial that found this cause, unless the current trial must make its own attempt.
    pub(crate) fn found_by(&self) -> Option<String> {
        if self.trial.is_empty() || ALWAYS_TRY.contains(&self.trial.as_str()) {
            return None;
        }
        let here = FOUND.lock().unwrap_or_else(PoisonError::into_inner).get(&self.key).cloned();
        here.or_else(|| std::fs::read_to_string(self.file()?).ok())
    }

    /// Lets the other trials know about this cause.
    pub(crate) fn note(&self) {
        if self.trial.is_empty() {
            return;
        }
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        found.entry(self.key.clone()).or_insert_with(|| self.trial.clone());
        if let Some(path) = self.file()
            && let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(path)
        {
            // If this fails, the others find the cause for themselves.
            let _ = file.write_all(self.trial.as_bytes());
        }
    }
}
