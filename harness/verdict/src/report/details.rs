//! Details besides the numbers: trials, machine, kernel log, how to reproduce the run.

use evidence::clock::Clock;
use evidence::facts::{COMPARED, LOAD_CYCLE, NOT_COMPARABLE, PROVENANCE};
use evidence::guest::GuestLaunch;
use evidence::kernel_log::trouble_in;
use evidence::place::Place;
use evidence::{Event, GuestEnded};
use serde_json::Value;

use super::repro;
use super::run::Run;
use super::section::{Section, SectionPart, Table};
use crate::trial_end::TrialEnd;

/// How many of the console's last lines are shown.
const TAIL: usize = 60;
/// Lines shown before a headline of trouble.
const BEFORE: usize = 5;
/// Lines shown from a headline on. An oops with its registers and its trace has about fifty.
const AFTER: usize = 60;
/// How many headlines are shown with their lines; the first ones are the cause.
const EXCERPTS: usize = 5;
/// Characters of a fact's value that are shown.
const SHOWN: usize = 160;

/// Facts that have a section of their own.
const ELSEWHERE: [&str; 4] = [LOAD_CYCLE, COMPARED, NOT_COMPARABLE, PROVENANCE];

pub(super) fn trials(run: &Run) -> Section {
    let mut section = Section::new("trials", "Trials, and skips with their reasons");
    let mut failed =
        Table::new("Trials that did not pass", &["trial", "place", "what became of it", "why"]);
    let mut skipped = Table::new("Skipped where they do not belong", &["trial", "place", "reason"]);
    for place in Place::ALL {
        let expected = run.evidence.expected(place);
        let mut counts = [0; 2];
        let mut left_out = Vec::new();
        for (trial, end) in run.trial_ends(place) {
            let (trial, why) = (trial.to_owned(), end.why().to_owned());
            let what = match end {
                TrialEnd::Passed => {
                    counts[0] += 1;
                    continue;
                }
                TrialEnd::Skipped(_) if !expected.contains(&trial) => {
                    skipped.rows.push(vec![trial, place.to_string(), why]);
                    continue;
                }
                TrialEnd::NotRun if run.evidence.is_part() => {
                    left_out.push(trial);
                    continue;
                }
                TrialEnd::Skipped(_) => "skipped in its own place",
                _ => end.words(),
            };
            counts[1] += 1;
            failed.rows.push(vec![trial, place.to_string(), what.to_owned(), why]);
        }
        section.text(format!("{place}: {} passed, {} did not.", counts[0], counts[1]));
        section.lines(format!("{} trials of the {place} were not run", left_out.len()), left_out);
    }
    section.table(failed);
    section.table(skipped);
    section
}

pub(super) fn environment(run: &Run) -> Section {
    let mut section = Section::new("environment", "Environment");
    for place in Place::ALL {
        let Some(one) = run.environment(place) else {
            section.text(format!("The machine of the {place} is not recorded."));
            continue;
        };
        let mut table = Table::new(format!("The {place}"), &["what", "value"]);
        let mut row = |what: &str, value: String| table.rows.push(vec![what.to_owned(), value]);
        row("kernel", one.kernel_release.clone());
        row("processor", format!("{}, {} of them", one.cpu, one.cpus));
        row("memory", format!("{} MiB", one.memory_kib / 1024));
        row("what computes", one.accelerator.to_string());
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
        section.parts.push(SectionPart::Lines(
            format!("Versions of {} packages, {place}", versions.rows.len()),
            versions.rows.into_iter().map(|row| row.join(" ")).collect(),
        ));
    }
    let boots: Vec<(&GuestLaunch, Option<&GuestEnded>)> = if run.boots.is_empty() {
        run.launch.iter().map(|launch| (launch, run.evidence.guest_end())).collect()
    } else {
        run.boots.iter().map(|boot| (&boot.launch, boot.end.as_ref())).collect()
    };
    for (number, (launch, end)) in (1..).zip(&boots) {
        let name = match boots.len() {
            1 => "The virtual machine".to_owned(),
            count => format!("The virtual machine, boot {number} of {count}"),
        };
        section.table(machine(name, launch, *end));
    }
    let mut facts = Table::new("What trials saw", &["trial", "place", "what", "value"]);
    for record in run.records() {
        let Event::Fact { trial, name, value } = &record.event else { continue };
        if ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text = crate::text::shortened(&text, SHOWN);
        facts.rows.push(vec![trial.clone(), record.place.to_string(), name.clone(), text]);
    }
    section.table(facts);
    section
}

fn machine(name: String, launch: &GuestLaunch, end: Option<&GuestEnded>) -> Table {
    let mut table = Table::new(name, &["what", "value"]);
    let mut row = |what: &str, value: String| table.rows.push(vec![what.to_owned(), value]);
    row("QEMU", format!("{} ({})", launch.qemu.version, launch.qemu.path.display()));
    row("accelerator", format!("{}: {}", launch.accelerator, launch.accelerator_reason));
    row("kernel", launch.kernel_release.clone());
    row("size", format!("{} CPUs, {} MiB", launch.cpus, launch.memory_mib));
    let clock = match launch.clock {
        Clock::Instructions => "its instructions",
        Clock::Wall => "the host's",
    };
    row("time", clock.to_owned());
    let detectors = match launch.detectors.as_slice() {
        [] => "none".to_owned(),
        some => some.join(" "),
    };
    row("detectors", detectors);
    if let Some(end) = end {
        row("end", end.how.clone());
        let boot =
            end.boot_seconds.map_or_else(|| "never".to_owned(), |s| format!("after {s:.1} s"));
        row("first sign of life", boot);
        row("whole life", format!("{:.1} s", end.total_seconds));
    }
    table
}

pub(super) fn kernel_log(run: &Run) -> Section {
    let mut section = Section::new("kernel-log", "Kernel log");
    let end = run.evidence.guest_end();
    if let Some(end) = end {
        section.text(format!("The launcher says: {}.", end.how));
    }
    let console = run.console.as_deref().unwrap_or_default();
    let trouble: Vec<String> =
        console.iter().filter(|line| trouble_in(line).is_some()).cloned().collect();
    if run.console.is_none() {
        section.text("There is no console of the guest.");
    } else if trouble.is_empty() {
        section.text("The console tells of no oops, warning, lock-up or panic.");
    } else {
        section.text("The console tells of trouble:");
        section.list(trouble);
        around_trouble(console, &mut section);
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

/// The console around each headline of trouble. A guest may survive an oops, so the console's end
/// alone may not show it.
fn around_trouble(console: &[String], section: &mut Section) {
    let mut shown_to = 0;
    let mut left_out = 0;
    let mut excerpts = 0;
    for (at, line) in console.iter().enumerate() {
        // Skip a headline that an earlier excerpt already shows, such as further lines of one oops.
        let Some(finding) = trouble_in(line).filter(|_| at >= shown_to) else { continue };
        if excerpts == EXCERPTS {
            left_out += 1;
            continue;
        }
        let from = at.saturating_sub(BEFORE).max(shown_to);
        shown_to = (at + AFTER).min(console.len());
        excerpts += 1;
        section.parts.push(SectionPart::Excerpt(
            format!("Lines {} to {shown_to} of the console: {}", from + 1, finding.headline),
            console[from..shown_to].to_vec(),
        ));
    }
    if left_out > 0 {
        section.text(format!("{left_out} further lines of trouble: see the console's file."));
    }
}

pub(super) fn again(run: &Run) -> Section {
    let mut section = Section::new("again", "How to do it again");
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
    commands.push(match run.guest_kernel() {
        Some(kernel) => format!("make validate KERNEL={kernel}"),
        None => "make validate".to_owned(),
    });
    section.text("The whole run, on a machine of the same kind:");
    section.parts.push(SectionPart::Commands(commands));
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
        section.parts.push(SectionPart::Commands(single));
    }
    section.text("The verdict and this page, from the run's directory alone, on any machine:");
    section.parts.push(SectionPart::Commands(vec![
        format!("vexfs-validate verdict {}", run.name),
        format!("vexfs-validate report {}", run.name),
    ]));
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captions and lines of the excerpts around trouble.
    fn excerpts(console: &[String]) -> (Vec<(String, Vec<String>)>, Vec<String>) {
        let mut section = Section::new("kernel-log", "Kernel log");
        around_trouble(console, &mut section);
        let mut found = (Vec::new(), Vec::new());
        for part in section.parts {
            match part {
                SectionPart::Excerpt(caption, lines) => found.0.push((caption, lines)),
                SectionPart::Text(words) => found.1.push(words),
                _ => panic!("neither an excerpt nor text"),
            }
        }
        found
    }

    fn console(troubled: &[usize], count: usize) -> Vec<String> {
        let line = |at| match troubled.contains(&at) {
            true => format!("[    1.0] BUG: of line {at}"),
            false => format!("[    1.0] line {at}"),
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn an_oops_that_the_guest_survived_is_shown_where_it_was() {
        // 103 and 140 belong to the same oops; 700 is the console's last line.
        let (shown, words) = excerpts(&console(&[100, 103, 140, 700], 701));
        assert_eq!(words, Vec::<String>::new());
        let captions: Vec<&str> = shown.iter().map(|(caption, _)| caption.as_str()).collect();
        assert_eq!(
            captions,
            [
                "Lines 96 to 160 of the console: BUG: of line 100",
                "Lines 696 to 701 of the console: BUG: of line 700"
            ]
        );
        assert_eq!(shown[0].1.len(), BEFORE + AFTER);
        assert_eq!(shown[0].1[BEFORE], "[    1.0] BUG: of line 100");
    }

    #[test]
    fn no_line_is_shown_twice_and_no_console_fills_the_report() {
        let (shown, _) = excerpts(&console(&[100, 162], 400));
        assert_eq!(shown[1].1.first().unwrap(), "[    1.0] line 160");
        let every: Vec<usize> = (0..10_000).collect();
        let (shown, words) = excerpts(&console(&every, 10_000));
        assert_eq!(shown.len(), EXCERPTS);
        assert_eq!(words, ["9700 further lines of trouble: see the console's file."]);
    }
}
