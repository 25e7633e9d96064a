//! The saboteurs that were found (`fixtures/saboteurs`), read from files and written as tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs, io};

use evidence::criterion::Criterion;
use serde::{Deserialize, Serialize};

use crate::text::{named, shortened};

/// A saboteur that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub saboteur: String,
    /// The program that it is a faulty copy of.
    pub twin_of: String,
    /// What it does wrong.
    pub fault: String,
    /// The criterion that went red; none if it is found by tests that belong to no criterion.
    pub criterion: Option<Criterion>,
    /// Trials of other criteria that use what it breaks, and therefore failed too.
    #[serde(default)]
    pub falls_with: Vec<String>,
    /// The trials that found it.
    pub found_by: Vec<String>,
    /// The message of the first of them.
    pub message: String,
    /// How long it took to find it.
    pub seconds: f64,
    /// The commit that it was built from, with `-dirty` if files had been changed.
    pub commit: String,
}

/// The file that lists the names of all saboteurs, one a line.
pub const REGISTER: &str = "all.txt";

/// All saboteurs, and which of them were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// Those that were found, by name.
    pub found: Vec<Found>,
    /// The others, by name: they escaped, or were not run.
    pub missing: Vec<String>,
}

impl Account {
    /// Reads the results in `directory`.
    ///
    /// # Errors
    /// If a file cannot be read, including the one with all names.
    pub fn read(directory: &Path) -> io::Result<Account> {
        let register = directory.join(REGISTER);
        let names = fs::read_to_string(&register).map_err(named(&register))?;
        let mut account = Account::default();
        for name in names.lines() {
            let path = directory.join(name).with_extension("json");
            match fs::read_to_string(&path) {
                Ok(text) => {
                    let found = serde_json::from_str(&text).map_err(io::Error::other);
                    account.found.push(found.map_err(named(&path))?);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    account.missing.push(name.to_owned());
                }
                Err(error) => return Err(named(&path)(error)),
            }
        }
        account.found.sort_by(|a, b| a.saboteur.cmp(&b.saboteur));
        account.missing.sort();
        Ok(account)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, missing) = (self.found.len(), self.missing.len());
        write!(f, "{found} of {} saboteurs were found", found + missing)?;
        let mut commits: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &self.found {
            *commits.entry(&one.commit).or_default() += 1;
        }
        for (number, (commit, count)) in commits.iter().enumerate() {
            let sign = if number == 0 { ":" } else { "," };
            write!(f, "{sign} {count} in commit {commit}")?;
        }
        if missing > 0 {
            write!(f, "; not found: {}", self.missing.join(", "))?;
        }
        Ok(())
    }
}

/// How many characters of a message the table shows.
const SHOWN: usize = 240;

/// The headings of [`Found::cells`].
pub(crate) const COLUMNS: [&str; 8] = [
    "saboteur",
    "twin of",
    "what it does wrong",
    "criterion",
    "found by",
    "falls with it",
    "what that said",
    "s",
];

impl Found {
    /// A row of a table.
    pub(crate) fn cells(&self) -> [String; COLUMNS.len()] {
        [
            self.saboteur.clone(),
            self.twin_of.clone(),
            self.fault.clone(),
            self.criterion.map_or_else(String::new, |criterion| criterion.id().to_owned()),
            self.found_by.join(", "),
            self.falls_with.join(", "),
            shortened(&self.message, SHOWN),
            format!("{:.1}", self.seconds),
        ]
    }
}

/// A Markdown table of saboteurs that were found.
pub fn markdown(found: &[Found]) -> String {
    let mut table = format!(
        "| {} |\n| --- | --- | --- | --- | --- | --- | --- | ---: |\n",
        COLUMNS.join(" | ")
    );
    for one in found {
        let cells = one.cells().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(saboteur: &str, commit: &str) -> Found {
        Found {
            saboteur: saboteur.to_owned(),
            twin_of: "FUSE daemon".to_owned(),
            fault: String::new(),
            criterion: Some(Criterion::Fuse),
            falls_with: Vec::new(),
            found_by: Vec::new(),
            message: String::new(),
            seconds: 0.0,
            commit: commit.to_owned(),
        }
    }

    #[test]
    fn who_was_not_found_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Account::read(dir.path()).is_err(), "nobody knows how many there are");
        fs::write(dir.path().join(REGISTER), "reads-short\nhangs\npanics\ntaints\n").unwrap();
        for (one, commit) in [("hangs", "0123"), ("taints", "4567"), ("reads-short", "0123")] {
            let text = serde_json::to_string(&found(one, commit)).unwrap();
            fs::write(dir.path().join(one).with_extension("json"), text).unwrap();
        }
        // A result of a saboteur that no longer exists is ignored.
        fs::write(dir.path().join("gone.json"), "{}").unwrap();
        let account = Account::read(dir.path()).unwrap();
        assert_eq!(
            account.to_string(),
            "3 of 4 saboteurs were found: 2 in commit 0123, 1 in commit 4567; not found: panics"
        );
        assert_eq!(account.found[0].saboteur, "hangs");
    }
}
