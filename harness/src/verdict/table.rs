//! The verdict as a person reads it on a terminal.

use std::fmt::Write;

use super::{State, Verdict};

/// What an accelerator is called in front of a person.
#[must_use]
pub fn accelerator_name(accelerator: &str) -> &str {
    match accelerator {
        "tcg" => "emulated CPU (TCG)",
        "kvm" => "virtual CPU (KVM)",
        "native" => "native CPU",
        _ => "no guest",
    }
}

/// A short table of the five criteria, why they are not PASS, the ratios and the verdict.
#[must_use]
pub fn table(verdict: &Verdict) -> String {
    let mut text = String::new();
    let guest = accelerator_name(&verdict.accelerator);
    let _ = writeln!(text, "{:<2} {:<34} {:<13} {:>9}  guest", "#", "criterion", "state", "trials");
    for (index, one) in verdict.criteria.iter().enumerate() {
        let trials = format!("{}/{}", one.passed, one.expected);
        let _ = writeln!(
            text,
            "{:<2} {:<34} {:<13} {:>9}  {guest}",
            index + 1,
            one.title,
            one.state,
            trials
        );
    }
    for note in verdict.criteria.iter().flat_map(|one| &one.notes) {
        let _ = writeln!(text, "\n{note}");
    }
    ratios(verdict, &mut text);
    reasons(verdict, &mut text);
    let _ = writeln!(text, "\nverdict: {}, {guest}", verdict.state);
    let conditions = &verdict.bare_metal.conditions;
    let met = conditions.iter().filter(|one| one.met).count();
    let _ = writeln!(
        text,
        "bare metal: {} ({met} of {} conditions met)",
        verdict.bare_metal.state,
        conditions.len()
    );
    for condition in conditions {
        let sign = if condition.met { "yes" } else { "no " };
        let _ = writeln!(text, "  {sign} {}", condition.demand);
        for evidence in &condition.evidence {
            let _ = writeln!(text, "      - {evidence}");
        }
        for missing in &condition.missing {
            let _ = writeln!(text, "      - missing: {missing}");
        }
    }
    text
}

fn ratios(verdict: &Verdict, text: &mut String) {
    let all: Vec<_> = verdict.criteria.iter().flat_map(|one| &one.ratios).collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nratios of speed, with bounds, against their thresholds");
    for one in all {
        let ratio = one.ratio.map_or_else(
            || "no ratio".to_owned(),
            |r| format!("{:7.3} [{:7.3}, {:7.3}]", r.estimate, r.lower, r.upper),
        );
        let outcome = State::from(one.outcome);
        let weight = if one.decides { "" } else { " (reported, does not decide)" };
        let _ = writeln!(
            text,
            "  {:<48} {:<5} {ratio} >= {:<4} {outcome}{weight}, {}, {}",
            one.title,
            one.place.to_string(),
            one.threshold,
            accelerator_name(&one.accelerator),
            one.clock.name(),
        );
    }
}

fn reasons(verdict: &Verdict, text: &mut String) {
    const SHOWN: usize = 8;
    for one in verdict.criteria.iter().filter(|one| one.state != State::Pass) {
        let _ = writeln!(text, "\n{}: {}", one.title, one.state);
        for reason in one.reasons.iter().take(SHOWN) {
            let _ = writeln!(text, "  - {}", reason.text.replace('\n', "\n    "));
        }
        if one.reasons.len() > SHOWN {
            let rest = one.reasons.len() - SHOWN;
            let _ = writeln!(text, "  - and {rest} more; verdict.json has them all");
        }
    }
}
