//! What a kernel with sanitizers reported about the module, as recorded in the run's directory.

use evidence::place::Place;

use super::run::Run;
use super::sanitized::{Sanitized, TO_RUN, of_module};
use super::section::{Section, Table};
use crate::judge;
use crate::text::shortened;
use crate::trial_end::TrialEnd;

/// How many characters of a message are shown.
const SHOWN: usize = 240;
/// The sanitizer, the kernel option that enables it, and what it finds.
const LOOKED_FOR: &[(&str, &str, &str)] = &[
    ("KASAN", "CONFIG_KASAN", "memory used after it was freed, or beyond its bounds"),
    ("kmemleak", "CONFIG_DEBUG_KMEMLEAK", "allocations that nothing points to any more"),
    ("lockdep", "CONFIG_PROVE_LOCKING", "locks taken in two orders, or in the wrong context"),
    ("DEBUG_ATOMIC_SLEEP", "CONFIG_DEBUG_ATOMIC_SLEEP", "sleeping where that is not allowed"),
    ("FAILSLAB", "CONFIG_FAILSLAB", "error paths, by allocations below the module's that fail"),
    ("DEBUG_LIST", "CONFIG_DEBUG_LIST", "damaged lists"),
    ("SLUB_DEBUG", "CONFIG_SLUB_DEBUG", "caches that are destroyed with objects in them"),
];

fn looked_for(sanitized: &Sanitized) -> Table {
    let mut table = Table::new("What the kernel looked for", &["sanitizer", "finds", "on"]);
    for (name, option, finds) in LOOKED_FOR {
        let wanted = format!("{option}=y");
        let on = sanitized.configuration.lines().any(|line| line == wanted);
        let on = if on { "yes" } else { "NO" };
        table.rows.push(vec![(*name).to_owned(), (*finds).to_owned(), on.to_owned()]);
    }
    table
}

/// The module's trials that `run` expects of its guest but that this lane was not to run.
fn left_out(sanitized: &Sanitized, run: &Run) -> Vec<String> {
    let ran = sanitized.trial_ends();
    let expected = of_module(run.evidence.expected(Place::Guest).iter().cloned());
    expected.filter(|one| !ran.contains_key(one.as_str())).collect()
}

/// `None` if no kernel with sanitizers was run.
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
    section.table(looked_for(sanitized));
    section.text(match sanitized.evidence.guest_end() {
        Some(end) => format!("The launcher says: {}.", end.how),
        None => "The launcher left no word on how the guest ended.".to_owned(),
    });
    let damage = judge::of(&sanitized.evidence).damage;
    section.list(damage.iter().map(|what| format!("the evidence is damaged: {what}")).collect());
    let ends = sanitized.trial_ends();
    let count = |is: fn(&TrialEnd) -> bool| ends.values().filter(|end| is(end)).count();
    section.text(format!(
        "Of {} trials {} passed; skipped: {}, not run: {}, begun and never ended: {}.",
        ends.len(),
        count(|end| *end == TrialEnd::Passed),
        count(|end| matches!(end, TrialEnd::Skipped(_))),
        count(|end| *end == TrialEnd::NotRun),
        count(|end| *end == TrialEnd::Began),
    ));
    if sanitized.to_run.is_empty() {
        section.text(format!(
            "Which trials were to run is not known ({TO_RUN} is not there): others may be missing."
        ));
    }
    let left_out = left_out(sanitized, run);
    if !left_out.is_empty() {
        section.text(format!(
            "Left out here, of the module's trials that the run expects (docs/sanitizers.md says \
             why): {}.",
            left_out.join(", ")
        ));
    }
    let mut table = Table::new("Trials that did not pass", &["trial", "what happened"]);
    for (trial, end) in ends {
        let what = match (end, end.why()) {
            (TrialEnd::Passed, _) => continue,
            (_, "") => end.words(),
            (_, why) => why,
        };
        table.rows.push(vec![trial.to_owned(), shortened(what, SHOWN)]);
    }
    if !table.rows.is_empty() {
        section.table(table);
    }
    Some(section)
}
