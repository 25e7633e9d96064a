//! The manifest of expected trials, which makes a trial that vanished as visible as one that
//! failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use evidence::level::{Level, name_in_manifest};
use evidence::place::Place;
use machine::failure::{Failure, WithContext};
use machine::project;
use serde::{Deserialize, Serialize};

/// Trials by the place that must run them, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// On the host.
    pub host: Vec<String>,
    /// In the guest.
    pub guest: Vec<String>,
    /// Those of the guest's that take long on an emulated CPU, where `make test` leaves them out.
    #[serde(default)]
    pub long_if_emulated: Vec<String>,
    /// Names of the homes' trials, without their criteria, by level.
    pub levels: BTreeMap<Level, Vec<String>>,
}

impl Expected {
    fn path() -> PathBuf {
        project::root().join("fixtures/expected-tests.json")
    }

    /// Reads the manifest of the checkout.
    ///
    /// # Errors
    /// It is missing or not a manifest.
    pub fn load() -> Result<Expected, Failure> {
        let path = Expected::path();
        let text = fs::read_to_string(&path).context(format!(
            "{} (restore it with git, or: vexfs-validate list --update)",
            path.display()
        ))?;
        serde_json::from_str(&text).context(path.display())
    }

    /// Writes the manifest of the checkout.
    pub fn save(&self) -> Result<(), Failure> {
        let path = Expected::path();
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n").context(path.display())
    }

    /// A manifest of the trials in `declared`, with the levels of this one, and with what it says is
    /// long. New trials have no level yet.
    pub fn updated(self, declared: Expected) -> Expected {
        let mut long_if_emulated = self.long_if_emulated;
        long_if_emulated.retain(|name| declared.guest.contains(name));
        long_if_emulated.sort();
        let mut levels = self.levels;
        let known: BTreeSet<&str> = declared.names_in_levels().collect();
        for names in levels.values_mut() {
            names.retain(|name| known.contains(name.as_str()));
            names.sort();
        }
        Expected { long_if_emulated, levels, ..declared }
    }

    /// The homes' trials that have no level, one line each.
    pub fn without_level(&self) -> Vec<String> {
        let listed: BTreeSet<&str> = self.levels.values().flatten().map(String::as_str).collect();
        let missing: BTreeSet<&str> =
            self.names_in_levels().filter(|name| !listed.contains(name)).collect();
        missing.into_iter().map(|name| format!("{name} has no level")).collect()
    }

    fn names_in_levels(&self) -> impl Iterator<Item = &str> {
        self.host.iter().chain(&self.guest).filter_map(|trial| name_in_manifest(trial))
    }

    /// The filterset of nextest that selects the long trials.
    pub fn long_filterset(&self) -> String {
        let tests: Vec<String> =
            self.long_if_emulated.iter().map(|name| format!("test(={name})")).collect();
        if tests.is_empty() { "none()".to_owned() } else { tests.join(" or ") }
    }

    /// The differences to `declared`, one line each: trials that vanished and trials that are new.
    pub fn differences(&self, declared: &Expected) -> Vec<String> {
        let beyond = |more: &Expected, less: &Expected, place| -> Vec<String> {
            let known = less.of(place);
            more.of(place).iter().filter(|trial| !known.contains(trial)).cloned().collect()
        };
        let mut differences = Vec::new();
        for place in Place::ALL {
            let gone = beyond(self, declared, place);
            let new = beyond(declared, self, place);
            differences.extend(gone.iter().map(|one| format!("{one} ({place}) has vanished")));
            differences.extend(new.iter().map(|one| format!("{one} ({place}) is new")));
        }
        for name in &self.long_if_emulated {
            if !declared.guest.contains(name) {
                differences
                    .push(format!("{name} is in long_if_emulated, and no trial of the guest"));
            }
        }
        differences
    }

    /// The trials of `place`.
    pub fn of(&self, place: Place) -> &[String] {
        match place {
            Place::Host => &self.host,
            Place::Guest => &self.guest,
        }
    }

    /// The trials of `place`, mutable.
    pub fn of_mut(&mut self, place: Place) -> &mut Vec<String> {
        match place {
            Place::Host => &mut self.host,
            Place::Guest => &mut self.guest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vanished_and_what_is_new_is_named() {
        let of = |host: &[&str], guest: &[&str]| Expected {
            host: host.iter().map(|&one| one.to_owned()).collect(),
            guest: guest.iter().map(|&one| one.to_owned()).collect(),
            long_if_emulated: guest.iter().map(|&one| one.to_owned()).collect(),
            levels: [(Level::Posix, vec!["b".to_owned(), "gone".to_owned()])].into(),
        };
        let manifest = of(&["fuse::a", "fuse::b"], &["module::c"]);
        assert_eq!(manifest.differences(&manifest), Vec::<String>::new());
        let mut declared = of(&["fuse::b"], &["module::d"]);
        assert_eq!(
            manifest.differences(&declared),
            [
                "fuse::a (host) has vanished",
                "module::c (guest) has vanished",
                "module::d (guest) is new",
                "module::c is in long_if_emulated, and no trial of the guest"
            ]
        );
        declared.guest.insert(0, "module::c".to_owned());
        let updated = manifest.updated(declared);
        assert_eq!(updated.levels[&Level::Posix], ["b"]);
        assert_eq!(updated.long_filterset(), "test(=module::c)");
        assert_eq!(updated.without_level(), ["c has no level", "d has no level"]);
    }
}
