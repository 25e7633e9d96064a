//! What a kernel with sanitizers said of the module before a run, as its directory holds it.

use std::fs;
use std::path::Path;

use super::run::Run;
use super::section::{Section, Table};
use super::shortened;
use crate::criterion::Criterion;
use crate::place::Place;
use crate::verdict::{Evidence, Fate};
use crate::vm::GuestLaunch;

/// Characters of a message.
const SHOWN: usize = 240;
/// The guest's own /proc/config.gz, unpacked.
const CONFIGURATION: &str = "kernel.config";

/// What was looked for, by which option of the kernel.
const LOOKED_FOR: &[(&str, &str, &str)] = &[
    ("KASAN", "CONFIG_KASAN", "memory used after it was freed, or beyond its bounds"),
    ("kmemleak", "CONFIG_DEBUG_KMEMLEAK", "allocations that nothing points to any more"),
    ("lockdep", "CONFIG_PROVE_LOCKING", "locks taken in two orders, or in the wrong context"),
    ("DEBUG_ATOMIC_SLEEP", "CONFIG_DEBUG_ATOMIC_SLEEP", "sleeping where that is not allowed"),
    ("FAILSLAB", "CONFIG_FAILSLAB", "error paths, by allocations below the module's that fail"),
    ("DEBUG_LIST", "CONFIG_DEBUG_LIST", "damaged lists"),
    ("SLUB_DEBUG", "CONFIG_SLUB_DEBUG", "caches that are destroyed with objects in them"),
];

/// Evidence of the module's trials on such a kernel.
pub struct Sanitized {
    evidence: Evidence,
    /// How its guest was launched, where that is known.
    launch: Option<GuestLaunch>,
    /// The kernel's configuration; empty where it was not kept.
    configuration: String,
}

impl Sanitized {
    /// `None` where there is no evidence.
    pub(super) fn read(dir: &Path) -> Option<Sanitized> {
        let evidence = Evidence::read(dir).ok()?;
        let configuration = fs::read_to_string(dir.join(CONFIGURATION)).unwrap_or_default();
        Some(Sanitized { evidence, launch: GuestLaunch::read(dir).ok(), configuration })
    }

    fn looked_for(&self) -> Table {
        let mut table = Table::new("What the kernel looked for", &["sanitizer", "finds", "on"]);
        for (name, option, finds) in LOOKED_FOR {
            let wanted = format!("{option}=y");
            let on = self.configuration.lines().any(|line| line == wanted);
            let on = if on { "yes" } else { "NO" };
            table.rows.push(vec![(*name).to_owned(), (*finds).to_owned(), on.to_owned()]);
        }
        table
    }
}

/// `None` where no such kernel was asked.
pub(super) fn section(run: &Run) -> Option<Section> {
    let sanitized = run.sanitized.as_ref()?;
    let mut section = Section::new("sanitizers", "Sanitizers");
    let release = sanitized.launch.as_ref().map_or("unknown", |launch| &launch.kernel_release);
    let host = sanitized.evidence.environment(Place::Host);
    let commit = host.map_or("unknown", |host| &host.commit);
    section.text(format!(
        "The module's trials on a kernel that looks for what others pass over (make sanitize): \
         {release}, commit {commit}."
    ));
    section.table(sanitized.looked_for());
    let fates = sanitized.evidence.fates(Criterion::Module, Place::Guest);
    let count = |is: fn(&Fate) -> bool| fates.values().filter(|fate| is(fate)).count();
    section.text(format!(
        "Of {} trials {} passed; skipped: {}.",
        fates.len(),
        count(|fate| *fate == Fate::Passed),
        count(|fate| matches!(fate, Fate::Skipped(_)))
    ));
    let mut table = Table::new("Trials that did not pass", &["trial", "what happened"]);
    for (trial, fate) in fates {
        let what = match fate {
            Fate::Passed => continue,
            Fate::Failed(why) | Fate::Undecided(why) | Fate::Skipped(why) => why,
            Fate::Began => "began and never ended".to_owned(),
            Fate::NotRun => "was not run".to_owned(),
        };
        table.rows.push(vec![trial, shortened(&what, SHOWN)]);
    }
    if !table.rows.is_empty() {
        section.table(table);
    }
    Some(section)
}
