//! The run as KTAP 1 (the kernel's Documentation/dev-tools/ktap.rst), for kernel CI.
//!
//! Criteria are tests, and the trials of both places are their subtests. Whatever fails closed is
//! `not ok`: an INCONCLUSIVE criterion, or a trial that never ended, was not run or was skipped in
//! its own place.

use std::fmt::Write;

use evidence::place::Place;

use super::run::Run;
use crate::criterion_verdict::CriterionVerdict;
use crate::rule::judgement::State;
use crate::trial_end::TrialEnd;

/// Writes the whole file.
pub fn ktap(run: &Run) -> String {
    let mut text = "KTAP version 1\n".to_owned();
    let _ = writeln!(text, "1..{}", run.verdict.criteria.len());
    for (index, one) in run.verdict.criteria.iter().enumerate() {
        criterion(run, index + 1, one, &mut text);
    }
    let _ = writeln!(text, "# verdict: {}", run.verdict.state);
    let _ = writeln!(text, "# bare metal: {}", run.verdict.bare_metal.state);
    for condition in &run.verdict.bare_metal.conditions {
        let met = if condition.met { "met" } else { "not met" };
        diagnostic("", &format!("{met}: {}", condition.demand), &mut text);
    }
    crate::text::clean(&text)
}

fn criterion(run: &Run, number: usize, one: &CriterionVerdict, text: &mut String) {
    let trials: Vec<(String, &TrialEnd, bool)> = Place::ALL
        .into_iter()
        .flat_map(|place| {
            let expected = run.evidence.expected(place);
            let ends = run.evidence.trial_ends(one.id, place);
            // A command in the guest leaves out the trials that it was not asked to run.
            let part = run.evidence.is_part();
            ends.filter(move |(_, end)| !(part && **end == TrialEnd::NotRun)).map(
                move |(trial, end)| {
                    (format!("{trial} in the {place}"), end, expected.contains(trial))
                },
            )
        })
        .collect();
    let _ = writeln!(text, "  KTAP version 1\n  # Subtest: {}\n  1..{}", one.id.id(), trials.len());
    for (index, (name, end, due)) in trials.into_iter().enumerate() {
        trial(index + 1, &name, end, due, text);
    }
    for reason in &one.reasons {
        diagnostic("", &format!("{}: {}", reason.state, reason.text), text);
    }
    let (result, why) = match one.state {
        State::Pass => ("ok", ""),
        State::Inconclusive => ("not ok", " # ERROR INCONCLUSIVE"),
        State::Fail => ("not ok", ""),
    };
    let _ = writeln!(text, "{result} {number} {}{why}", one.id.id());
}

fn trial(number: usize, name: &str, end: &TrialEnd, due: bool, text: &mut String) {
    let (result, why) = match end {
        TrialEnd::Passed => ("ok", String::new()),
        TrialEnd::Skipped(reason) if !due => ("ok", format!(" # SKIP {}", one_line(reason))),
        TrialEnd::Skipped(reason) => {
            ("not ok", format!(" # ERROR skipped in its place: {}", one_line(reason)))
        }
        TrialEnd::Failed(why) => {
            diagnostic("  ", why, text);
            ("not ok", String::new())
        }
        TrialEnd::Undecided(why) | TrialEnd::NotTried(why) => {
            ("not ok", format!(" # ERROR {}: {}", end.words(), one_line(why)))
        }
        TrialEnd::Began | TrialEnd::NotRun => ("not ok", format!(" # ERROR {}", end.words())),
    };
    let _ = writeln!(text, "  {result} {number} {name}{why}");
}

/// Each line of `words` as a diagnostic line.
fn diagnostic(indent: &str, words: &str, text: &mut String) {
    for line in words.lines() {
        let _ = writeln!(text, "{indent}# {line}");
    }
}

/// Joins lines and replaces `#`: a directive's reason ends with the line, and a `#` would begin
/// another one.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('#', "no.")
}
