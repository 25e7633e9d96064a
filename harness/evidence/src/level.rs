//! How far a VexFS implementation has come: its trials in levels, from easy to hard.
//!
//! An author begins with a file system that mounts, and ends with one that withstands misuse. A
//! trial belongs to one level, which is the same in both homes; the manifest of the expected tests
//! lists the levels.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::criterion::Criterion;

/// The trials that each place must run, and their levels.
const MANIFEST: &str = include_str!("../../../fixtures/expected-tests.json");

/// How the names of the adversary's trials begin. All of them belong to [`Level::Concurrency`].
const ADVERSARY: &str = "adversary_";

/// The name under which the manifest's `levels` must list `trial`. `None` if it need not be listed,
/// because it belongs to no home or is one of the adversary's trials.
pub fn name_in_manifest(trial: &str) -> Option<&str> {
    listed_name(trial).filter(|name| !name.starts_with(ADVERSARY))
}

/// The name of a home's trial without its criterion; this name is the same in both homes.
fn listed_name(trial: &str) -> Option<&str> {
    match Criterion::of_trial(trial)? {
        Criterion::Fuse | Criterion::Module => Some(trial.split_once("::")?.1),
        _ => None,
    }
}

/// A level: trials that demand similar things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It mounts, holds files and directories, and unmounts.
    Mounts,
    /// It does what POSIX and Linux ask of a file system.
    Posix,
    /// It answers the contract's requests, and refuses those that it must refuse.
    Requests,
    /// Indexes of every kind follow their rows and answer correctly.
    Indexes,
    /// It loses nothing at a limit or when something fails.
    Limits,
    /// Many programs use it at once, and some of them mean harm.
    Concurrency,
}

impl Level {
    /// All of them, in the order in which an author reaches them.
    pub const ALL: [Level; 6] = [
        Level::Mounts,
        Level::Posix,
        Level::Requests,
        Level::Indexes,
        Level::Limits,
        Level::Concurrency,
    ];

    /// The level of the trial called `name`, if it is a home's trial.
    pub fn of_trial(name: &str) -> Option<Level> {
        let name = listed_name(name)?;
        if name.starts_with(ADVERSARY) {
            return Some(Level::Concurrency);
        }
        LEVELS.get(name).copied()
    }

    /// Human-readable name.
    pub fn title(self) -> &'static str {
        match self {
            Level::Mounts => "mounts and writes",
            Level::Posix => "POSIX",
            Level::Requests => "contract requests",
            Level::Indexes => "indexes",
            Level::Limits => "limits",
            Level::Concurrency => "concurrency",
        }
    }

    /// Advice to an author at this level.
    pub fn next(self) -> &'static str {
        match self {
            Level::Mounts => {
                "vexfs-validate try shows in ten seconds why it fails; docs/own-vexfs.md, Mounting"
            }
            Level::Posix => {
                "make the same call on tmpfs to see whose fault a failure is; a message that ends \
                 in 'the contract asks more than POSIX' may wait"
            }
            Level::Requests => {
                "docs/contract.md, Requests: ATTACH and SEARCH of a Flat index come first, what is \
                 refused after them"
            }
            Level::Indexes => {
                "docs/contract.md, Vector files: every later search sees what write(2) has changed; \
                 vexctl verify FILE names what an index gets wrong"
            }
            Level::Limits => "mount it with -o size=1M by hand, and fill it",
            Level::Concurrency => "docs/adversary.md describes what runs at the same time",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// What the manifest of the expected tests says about levels.
#[derive(Deserialize)]
struct Manifest {
    levels: BTreeMap<Level, Vec<String>>,
}

/// The level of each trial, by the name under which the manifest lists it.
static LEVELS: LazyLock<HashMap<String, Level>> = LazyLock::new(|| {
    let manifest: Manifest =
        serde_json::from_str(MANIFEST).expect("fixtures/expected-tests.json has levels");
    let levels = manifest.levels.into_iter();
    levels.flat_map(|(level, names)| names.into_iter().map(move |name| (name, level))).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_of_a_home_has_one_level() {
        let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
        let all = ["host", "guest"].map(|place| manifest[place].as_array().unwrap().clone());
        let all: Vec<&str> = all.iter().flatten().filter_map(serde_json::Value::as_str).collect();
        let named: Vec<&str> = all.iter().filter_map(|trial| name_in_manifest(trial)).collect();
        for name in &named {
            assert!(LEVELS.contains_key(*name), "{name} has no level");
        }
        for name in LEVELS.keys() {
            assert!(named.contains(&name.as_str()), "{name} is not a trial any more");
        }
        let manifest: Manifest = serde_json::from_str(MANIFEST).unwrap();
        let listed: usize = manifest.levels.values().map(Vec::len).sum();
        assert_eq!(listed, LEVELS.len(), "a trial is listed in two levels");
    }

    #[test]
    fn the_level_of_a_trial_is_found() {
        assert_eq!(Level::of_trial("fuse::rename"), Some(Level::Mounts));
        assert_eq!(Level::of_trial("module::adversary_does_anything"), Some(Level::Concurrency));
        assert_eq!(Level::of_trial("baseline::chromadb"), None);
        assert_eq!(Level::of_trial("fuse::is_none"), None);
    }
}
