//! The verdict and its reasons, the criteria, bare metal.

use std::collections::BTreeSet;

use evidence::place::Place;
use evidence::processor::name_of;
use evidence::utc::Utc;

use super::run::Run;
use super::section::{Section, Table};
use crate::causes::{ReasonCause, causes};
use crate::judge::Verdict;
use crate::levels::{WhichHome, first_lacking};
use crate::rule::judgement::{Reason, State};
use crate::trial_end::TrialEnd;
use crate::trials::not_run;

/// How many reasons of a criterion are shown at once: a phase that was not run gives one for each
/// trial.
const REASONS: usize = 8;

/// A sentence under the verdict: what ran where, when.
pub(super) fn subtitle(run: &Run) -> String {
    let mut words = vec![format!("run {}", run.name)];
    if let Some(first) = run.records().map(|record| record.time_ms).min() {
        words.push(Utc::of_milliseconds(first).to_string());
    }
    words.push(name_of(run.verdict.accelerator).to_owned());
    if let Some(kernel) = run.guest_kernel() {
        words.push(format!("guest kernel {kernel}"));
    }
    if let Some(host) = run.environment(Place::Host).or_else(|| run.environment(Place::Guest)) {
        words.push(format!("commit {}", host.commit));
    }
    words.join(" · ")
}

pub(super) fn criteria(run: &Run) -> Section {
    let mut section = Section::new("criteria", "Criteria");
    let mut table = Table::new(
        "The five success criteria, over host and guest",
        &["#", "criterion", "state", "trials passed"],
    );
    for (index, one) in run.verdict.criteria.iter().enumerate() {
        table.rows.push(vec![
            (index + 1).to_string(),
            one.title.clone(),
            one.state.to_string(),
            match one.expected {
                0 => "none expected".to_owned(),
                expected => format!("{} of {expected}", one.passed),
            },
        ]);
    }
    section.table(table);
    let left_out = left_out(run);
    if !left_out.is_empty() {
        section.text(format!(
            "A command in the guest ran a part of the trials that are expected there: {} of {}. It can \
             show what it ran, and is no validation.",
            run.evidence.expected(Place::Guest).len() - left_out.len(),
            run.evidence.expected(Place::Guest).len()
        ));
    }
    let (first, more) = why(&run.verdict, &left_out);
    section.text(if first.is_empty() {
        "Nothing speaks against any of them."
    } else {
        "Why they are not all PASS:"
    });
    section.list(first);
    section.lines(format!("{} more reasons", more.len()), more);
    section.list(run.verdict.criteria.iter().flat_map(|one| one.notes.clone()).collect());
    section
}

/// The verdict's reasons about trials that a command in the guest did not run.
fn left_out(run: &Run) -> BTreeSet<String> {
    if !run.evidence.is_part() {
        return BTreeSet::new();
    }
    run.trial_ends(Place::Guest)
        .filter(|(_, end)| **end == TrialEnd::NotRun)
        .map(|(trial, _)| not_run(trial, Place::Guest))
        .collect()
}

/// The reasons against a PASS: the first [`REASONS`] of each criterion with failures first, and
/// then the rest. A reason that all criteria share, such as damage, appears once. Trials that the
/// command `left_out` are reported elsewhere.
fn why(verdict: &Verdict, left_out: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let mut all: Vec<(usize, State, String)> = Vec::new();
    for one in &verdict.criteria {
        let counts = |reason: &&Reason| !left_out.contains(&reason.text);
        let (shared, own): (Vec<&Reason>, Vec<&Reason>) =
            one.reasons.iter().filter(counts).partition(|&reason| {
                verdict.criteria.iter().all(|other| other.reasons.contains(reason))
            });
        let told = |whose: &str, reasons: Vec<&Reason>| -> Vec<(State, String)> {
            let tell = |cause: ReasonCause| {
                (cause.state, format!("{whose}: {}: {}", cause.state, cause.text))
            };
            causes(reasons).into_iter().map(tell).collect()
        };
        let mut told = [told("every criterion", shared), told(&one.title, own)].concat();
        told.sort_by_key(|(state, _)| *state != State::Fail);
        let mut rank = 0;
        for (state, text) in told {
            if all.iter().all(|(_, _, known)| *known != text) {
                all.push((rank, state, text));
                rank += 1;
            }
        }
    }
    all.sort_by_key(|(_, state, _)| *state != State::Fail);
    let (first, more): (Vec<_>, Vec<_>) = all.into_iter().partition(|(rank, ..)| *rank < REASONS);
    let texts = |reasons: Vec<(usize, State, String)>| {
        reasons.into_iter().map(|(_, _, text)| text).collect::<Vec<_>>()
    };
    (texts(first), texts(more))
}

/// How far each home has come, level by level, and what to do next.
pub(super) fn levels(run: &Run) -> Option<Section> {
    let levels = &run.verdict.levels;
    if levels.is_empty() {
        return None;
    }
    let mut section = Section::new("levels", "How far it is");
    let head = ["home", "level", "passed", "failed", "not run or not decided", "what it lacks"];
    let mut table =
        Table::new("Trials of each home by what they ask for, the easy before the hard", &head);
    for one in levels {
        table.rows.push(vec![
            one.home.title().to_owned(),
            one.level.title().to_owned(),
            one.passed.to_string(),
            one.failed.to_string(),
            one.open.to_string(),
            match one.why.as_slice() {
                [] => "nothing".to_owned(),
                [why] => why.clone(),
                [why, rest @ ..] => format!("{why}\nand {} more causes", rest.len()),
            },
        ]);
    }
    section.table(table);
    let next = WhichHome::ALL.into_iter().filter_map(|home| {
        let lacking = first_lacking(levels, home)?;
        let (level, advice) = (lacking.level, lacking.level.next());
        Some(format!("What to do next for the {}: {level}: {advice}.", home.title()))
    });
    section.list(next.collect());
    Some(section)
}

pub(super) fn missing(run: &Run) -> Option<Section> {
    if run.missing.is_empty() {
        return None;
    }
    let mut section = Section::new("missing", "Missing or damaged");
    section.text("This directory is not that of a whole run. What is there is shown below.");
    section.list(run.missing.clone());
    Some(section)
}

pub(super) fn bare_metal(run: &Run) -> Section {
    let bare_metal = &run.verdict.bare_metal;
    let mut section = Section::new("bare-metal", "Bare metal");
    section.text(format!(
        "May this module be loaded on a machine that is no VM? {}. Only all of these conditions \
         together make it eligible.",
        bare_metal.state
    ));
    let head = ["condition", "met", "evidence", "still missing"];
    let mut table = Table::new("Conditions of bare metal", &head);
    for one in &bare_metal.conditions {
        let met = if one.met { "yes" } else { "no" };
        let items = |lines: &[String]| -> Vec<String> {
            lines.iter().map(|line| format!("• {line}")).collect()
        };
        let words = [&one.evidence, &one.missing].map(|lines| items(lines).join("\n"));
        let mut row = vec![one.demand.clone(), met.to_owned()];
        row.extend(words);
        table.rows.push(row);
    }
    section.table(table);
    let mut soaks = Table::new(
        "Soaks: load/unload cycles under load",
        &["soak", "kernel", "guest", "module", "cycles", "seconds", "failure rate below", "faults"],
    );
    for one in &bare_metal.soaks {
        soaks.rows.push(vec![
            one.name.clone(),
            one.kernel_release.clone(),
            name_of(one.accelerator).to_owned(),
            one.srcversion.clone(),
            one.cycles.to_string(),
            format!("{:.0}", one.seconds()),
            format!("{:.2} % a cycle at 95 %", one.failure_rate_below * 100.0),
            if one.faults.is_empty() { "none".to_owned() } else { one.faults.join("\n") },
        ]);
    }
    section.table(soaks);
    section
}
