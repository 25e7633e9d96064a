//! What a reader needs around the numbers: trials, machine, kernel log, how to do it again.

use serde_json::Value;

use super::repro;
use super::run::{PLACES, Run};
use super::section::{Part, Section, Table};
use crate::criteria::cycles::CYCLE;
use crate::evidence::Event;
use crate::place::Place;
use crate::verdict::Fate;
use crate::vm::classify;

/// Lines of the console's end that are shown.
const TAIL: usize = 60;
/// Characters of a fact's value that are shown.
const SHOWN: usize = 160;

pub(super) fn trials(run: &Run) -> Section {
    let mut section = Section::new("trials", "Trials, and skips with their reasons");
    let mut failed =
        Table::new("Trials that did not pass", &["trial", "place", "what became of it", "why"]);
    let mut skipped = Table::new("Skipped where they do not belong", &["trial", "place", "reason"]);
    for place in PLACES {
        let expected = run.evidence.expected(place);
        let mut counts = [0; 2];
        for (trial, fate) in run.fates(place) {
            let (what, why) = match fate {
                Fate::Passed => {
                    counts[0] += 1;
                    continue;
                }
                Fate::Skipped(reason) if !expected.contains(&trial) => {
                    skipped.rows.push(vec![trial, place.to_string(), reason]);
                    continue;
                }
                Fate::Skipped(reason) => ("skipped in its own place", reason),
                Fate::Failed(why) => ("failed", why),
                Fate::Undecided(why) => ("not decided", why),
                Fate::Began => ("began and never ended", String::new()),
                Fate::NotRun => ("not run", String::new()),
            };
            counts[1] += 1;
            failed.rows.push(vec![trial, place.to_string(), what.to_owned(), why]);
        }
        section.text(format!("{place}: {} passed, {} did not.", counts[0], counts[1]));
    }
    section.table(failed);
    section.table(skipped);
    section
}

pub(super) fn environment(run: &Run) -> Section {
    let mut section = Section::new("environment", "Environment");
    for place in PLACES {
        let Some(one) = run.environment(place) else {
            section.text(format!("The machine of the {place} is not recorded."));
            continue;
        };
        let mut table = Table::new(format!("The {place}"), &["what", "value"]);
        let mut row = |what: &str, value: String| table.rows.push(vec![what.to_owned(), value]);
        row("kernel", one.kernel_release.clone());
        row("processor", format!("{}, {} of them", one.cpu, one.cpus));
        row("memory", format!("{} MiB", one.memory_kib / 1024));
        row("what computes", one.accelerator.clone());
        row("commit", one.commit.clone());
        row("why this is that place", one.place_reason.clone());
        for mark in &one.place_marks {
            row(&mark.source, mark.found.clone());
        }
        for (name, hash) in &one.programs {
            row(&format!("SHA-256 of {name}"), hash.clone());
        }
        section.table(table);
        let mut versions = Table::new(format!("Versions, {place}"), &["what", "version"]);
        versions.rows =
            one.versions.iter().map(|(name, v)| vec![name.clone(), v.clone()]).collect();
        section.parts.push(Part::Lines(
            format!("Versions of {} packages, {place}", versions.rows.len()),
            versions.rows.into_iter().map(|row| row.join(" ")).collect(),
        ));
    }
    if let Some(launch) = &run.launch {
        let mut table = Table::new("The virtual machine", &["what", "value"]);
        let mut row = |what: &str, value: String| table.rows.push(vec![what.to_owned(), value]);
        row("QEMU", format!("{} ({})", launch.qemu.version, launch.qemu.path.display()));
        row("accelerator", format!("{}: {}", launch.accelerator, launch.accelerator_reason));
        row("kernel", launch.kernel_release.clone());
        row("size", format!("{} CPUs, {} MiB", launch.cpus, launch.memory_mib));
        let clock = if launch.instruction_clock { "its instructions" } else { "the host's" };
        row("time", clock.to_owned());
        if let Some(end) = run.evidence.guest_end() {
            row("end", end.how.clone());
            let boot =
                end.boot_seconds.map_or_else(|| "never".to_owned(), |s| format!("after {s:.1} s"));
            row("first sign of life", boot);
            row("whole life", format!("{:.1} s", end.total_seconds));
        }
        section.table(table);
    }
    let mut facts = Table::new("What trials saw", &["trial", "place", "what", "value"]);
    for record in run.records() {
        let Event::Fact { trial, name, value } = &record.event else { continue };
        // Hundreds of them, which have a section of their own.
        if name == CYCLE {
            continue;
        }
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text = super::plot::shortened(&text, SHOWN);
        facts.rows.push(vec![trial.clone(), record.place.to_string(), name.clone(), text]);
    }
    section.table(facts);
    section
}

pub(super) fn kernel_log(run: &Run) -> Section {
    let mut section = Section::new("kernel-log", "Kernel log");
    let end = run.evidence.guest_end();
    if let Some(end) = end {
        section.text(format!("The launcher says: {}.", end.how));
    }
    let console = run.console.as_deref().unwrap_or_default();
    let trouble: Vec<String> =
        console.iter().filter(|line| classify(line).is_some()).cloned().collect();
    if run.console.is_none() {
        section.text("There is no console of the guest.");
    } else if trouble.is_empty() {
        section.text("The console tells of no oops, warning, lock-up or panic.");
    } else {
        section.text("The console tells of trouble:");
        section.list(trouble);
    }
    match end {
        Some(end) if !end.console_tail.is_empty() => {
            section.lines(
                "The console's last lines, as the launcher saw them",
                end.console_tail.clone(),
            );
        }
        _ => {
            let tail = console[console.len().saturating_sub(TAIL)..].to_vec();
            section.lines(format!("The console's last {} lines", tail.len()), tail);
        }
    }
    for record in run.records() {
        if let Event::KernelLog { trial, lines } = &record.event
            && !lines.is_empty()
        {
            let caption = format!("{trial} ({}), {} lines", record.place, lines.len());
            section.lines(caption, lines.clone());
        }
    }
    section
}

pub(super) fn again(run: &Run) -> Section {
    let mut section = Section::new("again", "How to do it again");
    let kernel = run.guest_kernel().unwrap_or("6.12");
    let mut commands = Vec::new();
    if let Some(commit) = run.commit() {
        let (clean, dirty) = commit.strip_suffix("-dirty").map_or((commit, false), |c| (c, true));
        commands.push(format!("git checkout {clean}"));
        if dirty {
            section.text(
                "The checkout had changes that were not committed: they are not in the commit.",
            );
        }
    }
    commands.push(format!("make validate KERNEL={kernel}"));
    section.text("The whole run, on a machine of the same kind:");
    section.parts.push(Part::Commands(commands));
    let mut single = Vec::new();
    for script in repro::scripts(run) {
        let places: Vec<String> = script.places.iter().map(Place::to_string).collect();
        let (name, trial) = (script.name, script.trial);
        single.push(format!("{}/{name}  # {trial}, {}", repro::DIRECTORY, places.join(" and ")));
    }
    if !single.is_empty() {
        section.text(
            "One trial that failed or never ended, as it was run, by a script in the run's directory:",
        );
        section.parts.push(Part::Commands(single));
    }
    section.text("The verdict and this page, from the run's directory alone, on any machine:");
    section.parts.push(Part::Commands(vec![
        format!("vexfs-validate verdict {}", run.name),
        format!("vexfs-validate report {}", run.name),
    ]));
    section
}
