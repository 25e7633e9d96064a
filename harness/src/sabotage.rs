//! Saboteurs that were found (`fixtures/saboteurs`), as files that tables are made of.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::criterion::Criterion;
use crate::failure::{Failure, While};
use crate::report::shortened;
use crate::{evidence, project};

/// A saboteur that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub saboteur: String,
    /// What it is a twin of.
    pub twin_of: String,
    /// What it does wrong.
    pub fault: String,
    /// The criterion that went red.
    pub criterion: Criterion,
    /// The trials that found it.
    pub found_by: Vec<String>,
    /// What the first of them said.
    pub message: String,
    /// How long it took to find it.
    pub seconds: f64,
    /// The commit of which it was a twin, with `-dirty` behind it where files had been changed.
    pub commit: String,
}

impl Found {
    /// Writes it into `target/sabotage`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(mut self) -> Result<(), Failure> {
        self.commit = evidence::commit();
        let directory = directory();
        fs::create_dir_all(&directory).when(directory.display())?;
        let path = directory.join(&self.saboteur).with_extension("json");
        fs::write(&path, serde_json::to_string_pretty(&self)? + "\n").when(path.display())
    }

    /// Forgets an earlier run's.
    pub fn forget(saboteur: &str) {
        // Where it was never found there is nothing to forget.
        let _ = fs::remove_file(directory().join(saboteur).with_extension("json"));
    }
}

/// Where they are written.
#[must_use]
pub fn directory() -> PathBuf {
    project::root().join("target/sabotage")
}

/// All that was found and written into `directory`, by name.
///
/// # Errors
/// A file cannot be read.
pub fn read(directory: &Path) -> Result<Vec<Found>, Failure> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).when(directory.display())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            all.push(serde_json::from_str(&fs::read_to_string(&path)?).when(path.display())?);
        }
    }
    all.sort_by(|a: &Found, b: &Found| a.saboteur.cmp(&b.saboteur));
    Ok(all)
}

/// Characters of a message in the table.
const SHOWN: usize = 240;

/// What [`Found::cells`] are.
pub(crate) const COLUMNS: [&str; 7] =
    ["saboteur", "twin of", "what it does wrong", "criterion", "found by", "what that said", "s"];

impl Found {
    /// A row of a table; paths are seen from the checkout.
    pub(crate) fn cells(&self) -> [String; COLUMNS.len()] {
        let here = format!("{}/", project::root().display());
        [
            self.saboteur.clone(),
            self.twin_of.clone(),
            self.fault.clone(),
            self.criterion.id().to_owned(),
            self.found_by.join(", "),
            shortened(&self.message.replace(&here, ""), SHOWN),
            format!("{:.1}", self.seconds),
        ]
    }
}

/// A table of them, in Markdown.
#[must_use]
pub fn markdown(found: &[Found]) -> String {
    let mut table =
        format!("| {} |\n| --- | --- | --- | --- | --- | --- | ---: |\n", COLUMNS.join(" | "));
    for one in found {
        let cells = one.cells().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}
