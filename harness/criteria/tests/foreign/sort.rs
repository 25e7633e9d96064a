//! What became of a file system's trials, by who asks for it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evidence::place::Place;
use evidence::{Event, TrialState, read_trail};
use homes::filesystem::contract::ASKS;
use homes::filesystem::{Need, all_operations};
use machine::failure::Failure;
use machine::require;

use crate::ground::Tmpfs;

/// For one operation on tmpfs.
const LIMIT: Duration = Duration::from_secs(120);
/// What trials say that need a mount with limits, on a home that takes no options.
const NO_OPTIONS: [&str; 2] = ["does not start with -o", "starts without options"];

/// Trials of a file system. Each red one is its name and message.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Their number.
    pub passed: usize,
    /// What docs/contract.md or the rules of mounting ask beyond POSIX.
    pub by_contract: Vec<String>,
    /// What tmpfs does, tried by the same operation.
    pub by_posix: Vec<String>,
    /// What tmpfs does not either.
    pub unfair: Vec<String>,
}

impl fmt::Display for Sorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} lacking by the contract, {} by POSIX",
            self.passed,
            self.by_contract.len(),
            self.by_posix.len()
        )
    }
}

impl Sorted {
    /// Whether the trial called `name` has not passed.
    pub fn is_red(&self, name: &str) -> bool {
        let all = [&self.by_contract, &self.by_posix, &self.unfair];
        all.into_iter().flatten().any(|red| red.starts_with(&format!("{name}: ")))
    }

    /// Each red line, by who asks for it.
    pub fn lines(&self) -> String {
        let mut text = format!("{self}\n");
        for (title, red) in [
            ("lacking by POSIX, and passed by tmpfs", &self.by_posix),
            ("lacking by the contract", &self.by_contract),
            ("failed by tmpfs, too", &self.unfair),
        ] {
            let _ = writeln!(text, "\n{title}:");
            for one in red {
                let _ = writeln!(text, "  {}", one.replace('\n', "\n    "));
            }
        }
        text
    }
}

/// Sorts what the trials `due` have left in `directory`; the referee is tried in `tmpfs`. Trials
/// that belong elsewhere count nowhere.
pub fn sorted(
    directory: &Path,
    place: Place,
    due: &[String],
    tmpfs: &Path,
) -> Result<Sorted, Failure> {
    let trail = read_trail(directory, place)?;
    let Some(trail) = trail else { machine::fail!("{} has no evidence", directory.display()) };
    let mut ends = BTreeMap::new();
    for record in trail.records {
        match record.event {
            Event::TrialFinished { trial, state, message, .. } => {
                ends.insert(trial, Some((state, message)));
            }
            Event::Skipped { trial, .. } => {
                ends.insert(trial, None);
            }
            _ => {}
        }
    }
    let mut sorted = Sorted::default();
    for name in due {
        let Some(end) = ends.remove(name) else {
            machine::fail!("{name} has no end in the evidence");
        };
        let Some((state, message)) = end else { continue };
        let red = format!("{name}: {message}");
        if matches!(state, TrialState::Undecided | TrialState::NotTried) {
            // It says nothing of the file system, and a table that counted it would.
            machine::fail!("{name} was not tried to its end: {message}");
        }
        let operation = name.split_once("::").map_or(name.as_str(), |(_, name)| name);
        if state == TrialState::Passed {
            sorted.passed += 1;
        } else if message.contains(ASKS)
            || NO_OPTIONS.iter().any(|words| message.contains(words))
            || !is_operation(operation)
        {
            sorted.by_contract.push(red);
        } else {
            match on_tmpfs(operation, tmpfs) {
                Ok(()) => sorted.by_posix.push(red),
                // tmpfs comes as far as what the contract alone asks.
                Err(failure) if failure.to_string().contains(ASKS) => sorted.by_contract.push(red),
                Err(failure) => sorted.unfair.push(format!("{red}\ntmpfs: {failure}")),
            }
        }
    }
    require!(sorted.passed > 0, "no trial has passed");
    Ok(sorted)
}

fn is_operation(name: &str) -> bool {
    all_operations().iter().any(|one| one.name == name)
}

/// The same operation on tmpfs, tried once: on one that is mounted with the operation's options, or,
/// where nobody may mount, in a directory of `there`, which has no limits.
fn on_tmpfs(name: &str, there: &Path) -> Result<(), Failure> {
    static TRIED: Mutex<BTreeMap<String, Result<(), String>>> = Mutex::new(BTreeMap::new());
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = tried.entry(name.to_owned()).or_insert_with(|| {
        let operation = all_operations().into_iter().find(|one| one.name == name);
        let tried = || -> Result<(), Failure> {
            let Some(operation) = operation else { machine::fail!("no operation is {name}") };
            let room = tempfile::Builder::new().prefix("r").tempdir_in(there)?;
            set_permissions(room.path(), Permissions::from_mode(0o755))?;
            if !nix::unistd::geteuid().is_root() {
                require!(
                    !operation.needs.contains(&Need::Root) && operation.on_any_mount(),
                    "it has to be tried by root"
                );
                return operation.run_apart(room.path(), LIMIT);
            }
            let tmpfs = Tmpfs::new(operation.options)?;
            operation.run_apart(tmpfs.path(), LIMIT)
        };
        tried().map_err(|failure| failure.to_string())
    });
    outcome.clone().map_err(Failure::new)
}
