//! Sorts the trials of a file system that did not pass by who asks for what is lacking.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use homes::filesystem::contract::ASKS;
use homes::filesystem::{Need, all_operations};
use machine::failure::Failure;
use machine::require;

use crate::ends::End;
use crate::ground::Tmpfs;

/// The limit of one operation on tmpfs.
const LIMIT: Duration = Duration::from_secs(120);
/// What the trials of limited mounts say of a file system that takes no options.
const NO_OPTIONS: [&str; 2] = ["does not start with -o", "starts without options"];

/// The trials of a file system. Each that did not pass is its name and message.
#[derive(Debug, Default)]
pub struct Sorted {
    /// The names of those that passed.
    pub passed: Vec<String>,
    /// Lacking: only docs/contract.md or the rules of mounting ask for it.
    pub by_contract: Vec<String>,
    /// Lacking: tmpfs passes the same operation.
    pub by_posix: Vec<String>,
    /// Failed, and tmpfs fails the same operation.
    pub unfair: Vec<String>,
    /// These say nothing about the file system: not tried, not to their end, or undecided.
    pub not_tried: Vec<String>,
    /// The names of those in which the guest's kernel oopsed.
    pub oopsed: Vec<String>,
    /// The names of those that ended the guest's kernel in another way.
    pub killed: Vec<String>,
    /// The kernel's words for both.
    kernel: Vec<String>,
}

impl fmt::Display for Sorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} lacking by the contract, {} by POSIX, not tried: {}",
            self.passed.len(),
            self.by_contract.len(),
            self.by_posix.len(),
            self.rest()
        )
    }
}

impl Sorted {
    /// How many were not tried, and which ended the kernel, as the table shows it.
    pub fn rest(&self) -> String {
        let mut text = self.not_tried.len().to_string();
        for (verb, names) in [("oopses", &self.oopsed), ("its kernel ends", &self.killed)] {
            let names: Vec<String> = names
                .iter()
                .map(|name| name.split_once("::").map_or(name.as_str(), |(_, name)| name))
                .map(|name| format!("`{name}`"))
                .collect();
            if !names.is_empty() {
                let _ = write!(text, "; {verb} at {}", names.join(", "));
            }
        }
        text
    }

    /// Every trial that did not pass, by who asks for it.
    pub fn lines(&self) -> String {
        let mut text = format!("{self}\n");
        for (title, red) in [
            ("lacking by POSIX, and passed by tmpfs", &self.by_posix),
            ("lacking by the contract", &self.by_contract),
            ("failed by tmpfs, too", &self.unfair),
            ("ended by the guest's kernel", &self.kernel),
            ("not tried", &self.not_tried),
        ] {
            let _ = writeln!(text, "\n{title}:");
            for one in red {
                let _ = writeln!(text, "  {}", one.replace('\n', "\n    "));
            }
        }
        text
    }
}

/// Sorts the trials `due` by their `ends`; the referee is tried in `tmpfs`. Trials that belong
/// elsewhere do not count.
pub fn sorted(
    ends: &BTreeMap<String, End>,
    due: &[String],
    tmpfs: &Path,
) -> Result<Sorted, Failure> {
    let mut sorted = Sorted::default();
    for name in due {
        match ends.get(name) {
            Some(End::Passed) => sorted.passed.push(name.clone()),
            Some(End::Failed(message)) => sorted.failed(name, message, tmpfs),
            Some(End::Elsewhere) => {}
            Some(End::NotTried(message) | End::Undecided(message)) => {
                sorted.not_tried.push(format!("{name}: {message}"));
            }
            Some(End::Kernel { words, oops }) => {
                sorted.kernel.push(format!("{name}: {words}"));
                let names = if *oops { &mut sorted.oopsed } else { &mut sorted.killed };
                names.push(name.clone());
            }
            None => sorted.not_tried.push(format!("{name}: it was not begun")),
        }
    }
    require!(!sorted.passed.is_empty(), "no trial has passed");
    Ok(sorted)
}

impl Sorted {
    fn failed(&mut self, name: &str, message: &str, tmpfs: &Path) {
        let red = format!("{name}: {message}");
        let operation = name.split_once("::").map_or(name, |(_, name)| name);
        if message.contains(ASKS)
            || NO_OPTIONS.iter().any(|words| message.contains(words))
            || !is_operation(operation)
        {
            self.by_contract.push(red);
            return;
        }
        match on_tmpfs(operation, tmpfs) {
            Ok(()) => self.by_posix.push(red),
            // tmpfs passes all but what only the contract asks.
            Err(failure) if failure.to_string().contains(ASKS) => self.by_contract.push(red),
            Err(failure) => self.unfair.push(format!("{red}\ntmpfs: {failure}")),
        }
    }
}

fn is_operation(name: &str) -> bool {
    all_operations().iter().any(|one| one.name == name)
}

/// Tries the same operation on tmpfs, once: on a tmpfs mounted with the operation's options, or, if
/// this process may not mount, in a directory of `there`, which has no limits.
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
