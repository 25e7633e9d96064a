//! The verdict for a person at a terminal.

use std::fmt::Write;

use evidence::clock::Clock;
use evidence::place::Place;
use evidence::processor::{Processor, name_of};

use crate::causes::causes;
use crate::judge::Verdict;
use crate::levels::{WhichHome, first_lacking};
use crate::rule::judgement::State;
use crate::rule::ratios::Disturbances;
use crate::rule::ratios::JudgedRatio;

/// A short table of the five criteria, why they are not PASS, the ratios and the verdict.
pub fn table(verdict: &Verdict) -> String {
    let mut text = String::new();
    let guest = name_of(verdict.accelerator);
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
    if let Some(older) = &verdict.older {
        let _ = writeln!(text, "\n{older}");
    }
    levels(verdict, &mut text);
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
    let _ = writeln!(
        text,
        "\nratios of speed, with bounds, against their thresholds (in brackets: does not decide)"
    );
    let mut scenes: Vec<_> = all.iter().map(|one| scene(one)).collect();
    scenes.sort_by_key(|&(place, _, clock)| (place, clock.name()));
    scenes.dedup();
    for at in scenes {
        let (place, accelerator, clock) = at;
        let _ = writeln!(text, "  {place}, {}, {}", name_of(accelerator), clock.name());
        let mut here: Vec<_> = all.iter().filter(|one| scene(one) == at).collect();
        here.sort_by_key(|one| !one.decides);
        let widest = here.iter().map(|one| one.title.chars().count()).max().unwrap_or_default();
        for one in here {
            let ratio = one.ratio.map_or_else(|| "no ratio".to_owned(), |r| format!("{r:7}"));
            let outcome = State::from(one.outcome);
            let outcome = if one.decides { format!(" {outcome}") } else { format!("({outcome})") };
            let (title, demand) = (&one.title, one.demand());
            let _ = writeln!(text, "    {title:<widest$} {ratio:>26} {demand:<7} {outcome}");
            let disturbances = one.disturbances.unwrap_or_default();
            if disturbances != Disturbances::default() {
                let _ = writeln!(text, "      rounds: {disturbances}");
            }
        }
    }
}

/// Where a ratio was measured, on which processor, and what its times count.
fn scene(one: &JudgedRatio) -> (Place, Option<Processor>, Clock) {
    (one.place, one.accelerator, one.clock)
}

fn reasons(verdict: &Verdict, text: &mut String) {
    const SHOWN: usize = 8;
    for one in verdict.criteria.iter().filter(|one| one.state != State::Pass) {
        let _ = writeln!(text, "\n{}: {}", one.title, one.state);
        let causes = causes(&one.reasons);
        for cause in causes.iter().take(SHOWN) {
            let _ = writeln!(text, "  - {}", cause.text.replace('\n', "\n    "));
        }
        if causes.len() > SHOWN {
            let rest = causes.len() - SHOWN;
            let _ = writeln!(text, "  - and {rest} more; verdict.json has them all");
        }
    }
}

/// How far an unfinished home has come, and what its author can do next.
fn levels(verdict: &Verdict, text: &mut String) {
    for home in WhichHome::ALL {
        let Some(lacking) = first_lacking(&verdict.levels, home) else { continue };
        let _ = writeln!(text, "\nhow far the {} is", home.title());
        for one in verdict.levels.iter().filter(|one| one.home == home) {
            let sign = if one.is_reached() { "yes" } else { "no " };
            let run = one.passed + one.failed;
            let open = match one.open {
                0 => String::new(),
                open => format!(", {open} not run"),
            };
            let _ = writeln!(
                text,
                "  {sign} {:<18} {:>3} of {run:>3} passed{open}",
                one.level.title(),
                one.passed
            );
        }
        let _ = writeln!(text, "  next: {}: {}", lacking.level, lacking.level.next());
    }
}
