//! The expected-tests manifest: a trial that vanished must be as loud as one that failed.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, While};
use crate::place::Place;
use crate::project;

/// Trials by the place that must run them, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// On the host.
    pub host: Vec<String>,
    /// In the guest.
    pub guest: Vec<String>,
}

impl Expected {
    fn path() -> PathBuf {
        project::root().join("fixtures/expected-tests.json")
    }

    /// Reads the manifest of the checkout.
    ///
    /// # Errors
    /// Where it is missing or no manifest.
    pub fn load() -> Result<Expected, Failure> {
        let path = Expected::path();
        let text = fs::read_to_string(&path).when(format!(
            "{} (restore it with git, or: vexfs-validate list --update)",
            path.display()
        ))?;
        serde_json::from_str(&text).when(path.display())
    }

    /// Writes the manifest of the checkout.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self) -> Result<(), Failure> {
        let path = Expected::path();
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n").when(path.display())
    }

    /// The trials of `place`.
    #[must_use]
    pub fn of(&self, place: Place) -> &[String] {
        match place {
            Place::Host => &self.host,
            Place::Guest => &self.guest,
        }
    }

    /// The trials of `place`, to add to.
    pub fn of_mut(&mut self, place: Place) -> &mut Vec<String> {
        match place {
            Place::Host => &mut self.host,
            Place::Guest => &mut self.guest,
        }
    }
}
