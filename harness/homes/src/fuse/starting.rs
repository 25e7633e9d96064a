//! How trials start the daemon under test: what keeps it from starting is said once, and not by
//! each of the trials that need it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use evidence::criterion::Criterion;
use evidence::place::Place;
use machine::failure::Failure;
use machine::place;

use super::daemon::{FuseMount, build_if_missing};
use crate::trial_name;

/// The trial that is about mounting: it always tries.
const ALWAYS_TRIES: &str = "fuse::mounts_as_fuse";

/// nextest's name for the run to which this process belongs.
const RUN: &str = "NEXTEST_RUN_ID";

/// Trials of this process that found a cause, by the cause.
static FOUND: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

impl FuseMount {
    /// The daemon under test, started with `options` for the trial of this thread.
    ///
    /// # Errors
    /// As [`FuseMount::start`], with what to change where it starts without options. Once a trial
    /// of the same criterion has found that it does not start, the others are not tried.
    pub fn for_trial(options: &[&str]) -> Result<FuseMount, Failure> {
        let program = build_if_missing()?;
        let asked = options.join(" ");
        let with = |options: &str| match options {
            "" => String::new(),
            options => format!(" with {options}"),
        };
        for cause in ["", &asked] {
            if let Some(first) = Cause::of_this_trial(cause).found_by() {
                return Err(Failure::not_tried(format!(
                    "not tried: the FUSE daemon does not start{}; {first} says why",
                    with(cause)
                )));
            }
        }
        let failure = match FuseMount::start(&program, options) {
            Ok(mount) => return Ok(mount),
            Err(failure) => failure,
        };
        // Once more and without options: which of them is it, or was the machine only slow?
        let bare = FuseMount::start(&program, &[]);
        match &bare {
            Err(_) => Cause::of_this_trial("").note(),
            Ok(_) if options.is_empty() => {}
            Ok(_) => Cause::of_this_trial(&asked).note(),
        }
        Err(match bare {
            Ok(mount) if !options.is_empty() => {
                mount.unmount()?;
                failure.and_then(format!(
                    "\nIt starts without options. If it takes no {asked}, leave {{options}} out in \
                     vexfs.toml, and trials that need a small mount will say so:\n\n    [mount]\n    \
                     fuse = \"{{program}} {{mountpoint}}\""
                ))
            }
            _ => failure.while_doing(format!("the FUSE daemon does not start{}", with(&asked))),
        })
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

/// Something that keeps the daemon from starting in the trials of a criterion: these options, or
/// none.
struct Cause {
    key: String,
    trial: String,
}

impl Cause {
    fn of_this_trial(options: &str) -> Cause {
        let trial = trial_name::current().unwrap_or_default();
        let criterion = Criterion::of_trial(&trial).map_or("", Criterion::id);
        let options: String = options
            .chars()
            .map(|one| if one.is_ascii_alphanumeric() { one } else { '-' })
            .collect();
        Cause { key: format!("{criterion}{options}"), trial }
    }

    /// Where the processes of a run leave it for each other, where they have a place.
    fn file(&self) -> Option<PathBuf> {
        let run = std::env::var(RUN).ok()?;
        Some(directory()?.join(format!("not-starting-{run}-{}", self.key)))
    }

    /// The trial that found it, unless this is one that finds for itself.
    fn found_by(&self) -> Option<String> {
        if self.trial.is_empty() || self.trial == ALWAYS_TRIES {
            return None;
        }
        let here = FOUND.lock().unwrap_or_else(PoisonError::into_inner).get(&self.key).cloned();
        here.or_else(|| std::fs::read_to_string(self.file()?).ok())
    }

    fn note(&self) {
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
