//! What a kernel with sanitizers said of the module before a run, as its directory holds it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use evidence::criterion::Criterion;
use evidence::guest::GuestLaunch;
use evidence::place::Place;

use super::run::Run;
use super::section::{Section, Table};
use super::shortened;
use crate::verdict::{self, Evidence, Fate};

/// Characters of a message.
const SHOWN: usize = 240;
/// The guest's own /proc/config.gz, unpacked.
const CONFIGURATION: &str = "kernel.config";
/// The trials that the lane was to run, as nextest listed them before it began.
const TO_RUN: &str = "to-run.txt";

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
    /// Trials that were to run; none where nobody wrote them down.
    to_run: BTreeSet<String>,
}

impl Sanitized {
    /// `None` where there is no evidence.
    pub(super) fn read(dir: &Path) -> Option<Sanitized> {
        let evidence = Evidence::read(dir).ok()?;
        let configuration = fs::read_to_string(dir.join(CONFIGURATION)).unwrap_or_default();
        let mut to_run = listed(&fs::read_to_string(dir.join(TO_RUN)).unwrap_or_default());
        // The lane leaves some of the manifest's trials out.
        if to_run.is_empty() {
            to_run.extend(of_module(evidence.expected(Place::Guest)));
        }
        Some(Sanitized { evidence, launch: GuestLaunch::read(dir).ok(), configuration, to_run })
    }

    /// What became of the trials that were to run, and of all others.
    fn fates(&self) -> Vec<(String, Fate)> {
        let mut fates = self.evidence.fates(Criterion::Module, Place::Guest);
        for trial in &self.to_run {
            fates.entry(trial.clone()).or_insert(Fate::NotRun);
        }
        fates.into_iter().collect()
    }

    /// Trials of the module that the `run` expects of its guest and that were not to run here.
    fn left_out(&self, run: &Run) -> Vec<String> {
        let ran: BTreeSet<String> = self.fates().into_iter().map(|(trial, _)| trial).collect();
        of_module(run.evidence.expected(Place::Guest)).filter(|one| !ran.contains(one)).collect()
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
    section.text(match sanitized.evidence.guest_end() {
        Some(end) => format!("The launcher says: {}.", end.how),
        None => "The launcher left no word on how the guest ended.".to_owned(),
    });
    let damage = verdict::of(&sanitized.evidence).damage;
    section.list(damage.iter().map(|what| format!("the evidence is damaged: {what}")).collect());
    let fates = sanitized.fates();
    let count = |is: fn(&Fate) -> bool| fates.iter().filter(|(_, fate)| is(fate)).count();
    section.text(format!(
        "Of {} trials {} passed; skipped: {}, not run: {}, begun and never ended: {}.",
        fates.len(),
        count(|fate| *fate == Fate::Passed),
        count(|fate| matches!(fate, Fate::Skipped(_))),
        count(|fate| *fate == Fate::NotRun),
        count(|fate| *fate == Fate::Began),
    ));
    if sanitized.to_run.is_empty() {
        section.text(format!(
            "Which trials were to run is not known ({TO_RUN} is not there): others may be missing."
        ));
    }
    let left_out = sanitized.left_out(run);
    if !left_out.is_empty() {
        section.text(format!(
            "Left out here, of the module's trials that the run expects (docs/sanitizers.md says \
             why): {}.",
            left_out.join(", ")
        ));
    }
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

/// The module's trials in what nextest listed, one a line behind its program's name.
fn listed(text: &str) -> BTreeSet<String> {
    of_module(text.split_whitespace().map(str::to_owned)).collect()
}

fn of_module(trials: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    trials.into_iter().filter(|trial| Criterion::of_trial(trial) == Some(Criterion::Module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nextest_lists_is_understood() {
        let text = "vexfs-validation::module module::append\n\
                    vexfs-validation::module module::fuzzed_requests\n";
        assert_eq!(
            listed(text).into_iter().collect::<Vec<_>>(),
            ["module::append", "module::fuzzed_requests"]
        );
        assert!(listed("").is_empty());
    }
}
