//! Details of a failed trial for a reader of CI: why, its output, its part of the kernel log, and
//! the console's last lines.

use evidence::Event;
use evidence::place::Place;

use super::suite::{Bad, CaseResult};
use crate::report::run::Run;
use crate::trial_end::{TrialEnd, UNENDED};

/// Lines of each excerpt, few because CI shows it on a page.
const LINES: usize = 60;
/// How our marks in the kernel log begin (see `KernelLog::mark`).
const MARK: &str = "vexfs-validation: ";

/// The outcome of a trial whose `end` is neither a pass nor a permitted skip.
pub(super) fn bad(
    run: &Run,
    place: Place,
    trial: &str,
    end: &TrialEnd,
    output: Option<&str>,
) -> CaseResult {
    let told = |kind, message: &str| {
        let details = details(run, place, trial, message, output);
        Bad { kind, message: message.to_owned(), details }
    };
    let no_trace = |kind, message: String| Bad { kind, details: message.clone(), message };
    match end {
        TrialEnd::Failed(why) => CaseResult::Failure(told(end.words(), why)),
        TrialEnd::Undecided(why) => CaseResult::Error(told(end.words(), why)),
        TrialEnd::NotTried(why) => CaseResult::Error(no_trace(end.words(), why.clone())),
        TrialEnd::Began => CaseResult::Error(told("never ended", &never_ended(run, place))),
        TrialEnd::Skipped(reason) => {
            CaseResult::Error(no_trace("not run", format!("skipped in its own place: {reason}")))
        }
        TrialEnd::NotRun | TrialEnd::Passed => CaseResult::Error(no_trace(
            "not run",
            "expected by fixtures/expected-tests.json, and not run".to_owned(),
        )),
    }
}

fn never_ended(run: &Run, place: Place) -> String {
    let end = run.evidence.guest_end().filter(|_| place == Place::Guest);
    match end {
        Some(end) => format!("{UNENDED}: {}", end.how),
        None => format!("{UNENDED}: the run was cut short"),
    }
}

fn details(run: &Run, place: Place, trial: &str, message: &str, output: Option<&str>) -> String {
    let mut text = format!("{message}\n");
    let mut add = |title: &str, lines: &[String]| {
        let from = lines.len().saturating_sub(LINES);
        if let Some(last) = lines.get(from..).filter(|last| !last.is_empty()) {
            let cut = if from > 0 { format!(", the last {LINES} lines") } else { String::new() };
            text += &format!("\n== {title}{cut}\n{}\n", last.join("\n"));
        }
    };
    let output: Vec<String> = output.unwrap_or_default().lines().map(str::to_owned).collect();
    add("what it printed", &output);
    add("kernel log of the trial", &kernel_log(run, place, trial));
    if place == Place::Guest {
        let seen = run.evidence.guest_end().map(|end| end.console_tail.as_slice());
        let console = run.console.as_deref().unwrap_or_default();
        add("the console's end", seen.filter(|tail| !tail.is_empty()).unwrap_or(console));
    }
    text
}

/// The kernel-log lines that the trial itself recorded, or else the console's lines between its
/// mark and the next one.
fn kernel_log(run: &Run, place: Place, trial: &str) -> Vec<String> {
    let mut recorded = run.evidence.records(place).filter_map(|record| match &record.event {
        Event::KernelLog { trial: of, lines } if of == trial => Some(lines),
        _ => None,
    });
    if let Some(lines) = recorded.next_back() {
        return lines.clone();
    }
    let console = run.console.as_deref().filter(|_| place == Place::Guest).unwrap_or_default();
    let marked = |line: &String| line.split_once(MARK).map(|(_, of)| of.trim().to_owned());
    let Some(at) = console.iter().rposition(|line| marked(line).as_deref() == Some(trial)) else {
        return Vec::new();
    };
    // Marks that a trial writes while it runs begin with its name and a colon.
    let own = |of: String| of == trial || of.starts_with(&format!("{trial}: "));
    let still = |line: &&String| marked(line).is_none_or(own);
    console[at..].iter().take_while(still).cloned().collect()
}
