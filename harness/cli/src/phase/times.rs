//! Keeps how long the phases of a run took, for the next run on the same machine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use machine::{atomic, project};
use serde::{Deserialize, Serialize};

/// A phase of an earlier run, in seconds after that run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Took {
    /// Its name.
    pub phase: String,
    /// When it began.
    pub began: f64,
    /// When it ended.
    pub ended: f64,
}

/// Where the times of complete runs are kept, and the key of one sort of run.
///
/// The file lies beside what the set-up fetched, which `make clean` leaves alone.
#[derive(Debug, Clone)]
pub(super) struct Store {
    file: PathBuf,
    /// The key: what the run does, and the machine.
    sort: String,
}

/// The phases, in order, of the last run of each sort.
type Kept = BTreeMap<String, Vec<Took>>;

impl Store {
    /// The store for runs that do `what`, described by their options.
    pub(super) fn here(what: &str) -> Store {
        // The key names the machine, because a checkout may be moved to another one with its cache.
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Store {
            file: project::cache().join("run-times.json"),
            sort: format!("{} with {cpus} CPUs: {what}", machine.trim()),
        }
    }

    #[cfg(test)]
    pub(super) fn at(file: &Path, sort: &str) -> Store {
        Store { file: file.to_owned(), sort: sort.to_owned() }
    }

    /// The last complete run of this sort; empty if there was none or the file is damaged.
    pub(super) fn last(&self) -> Vec<Took> {
        all(&self.file).remove(&self.sort).unwrap_or_default()
    }

    /// Keeps `run` as the last of its sort.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self, run: &[Took]) -> io::Result<()> {
        let mut kept = all(&self.file);
        kept.insert(self.sort.clone(), run.to_vec());
        // Written atomically, because another run may be reading it.
        atomic::write(&self.file, &serde_json::to_vec_pretty(&kept)?)
    }
}

fn all(file: &Path) -> Kept {
    fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(phase: &str, ended: f64) -> Took {
        Took { phase: phase.to_owned(), began: 0.0, ended }
    }

    #[test]
    fn the_last_run_of_a_sort_is_kept() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("run-times.json");
        let [all, some] = ["all", "some"].map(|sort| Store::at(&file, sort));
        assert!(all.last().is_empty());
        all.keep(&[took("1 host", 5.0)]).unwrap();
        some.keep(&[took("1 host", 1.0)]).unwrap();
        all.keep(&[took("1 host", 4.0)]).unwrap();
        assert_eq!(all.last(), [took("1 host", 4.0)]);
        assert_eq!(some.last(), [took("1 host", 1.0)]);
        let left: Vec<_> = fs::read_dir(room.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_damaged_file_says_nothing_and_is_replaced() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("run-times.json");
        fs::write(&file, "{\"all\": [{\"phase\"").unwrap();
        let store = Store::at(&file, "all");
        assert!(store.last().is_empty());
        store.keep(&[took("1 host", 5.0)]).unwrap();
        assert_eq!(store.last(), [took("1 host", 5.0)]);
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let store = Store::at(Path::new("/nonexistent/run-times.json"), "all");
        assert!(store.keep(&[]).is_err());
    }
}
