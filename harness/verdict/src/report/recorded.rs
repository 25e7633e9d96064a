//! Recorded figures: those that our results are compared with, and why the others are not
//! comparable.

use evidence::facts::{NOT_COMPARABLE, PROVENANCE};
use evidence::processor::name_of;
use evidence::stats::Ratio;
use serde_json::Value;

use super::run::Run;
use super::section::{Section, Table};
use crate::rule::judgement::State;
use crate::rule::recorded::JudgedFigure;

pub(super) fn section(run: &Run) -> Section {
    let mut section = Section::new("recorded", "Recorded figures");
    let all: Vec<&JudgedFigure> =
        run.verdict.criteria.iter().flat_map(|one| &one.recorded).collect();
    let facts = |name| run.evidence.all_facts(name).map(|fact| fact.value);
    let provenance = once(facts(PROVENANCE).filter_map(Value::as_str));
    let reasons = facts(NOT_COMPARABLE).filter_map(Value::as_array);
    let reasons = once(reasons.flatten().filter_map(Value::as_str));
    if all.is_empty() && reasons.is_empty() {
        section.text("None was looked at.");
        return section;
    }
    for text in provenance {
        section.text(text);
    }
    section.text(
        "A figure is held against FUSE at the same operation, dimension and size alone, and with no \
         control: those who recorded it left a rate, not rounds.",
    );
    let mut table = Table::new(
        "FUSE over recorded figures, each at its own size",
        &[
            "figure",
            "recorded",
            "how",
            "place",
            "ours",
            "ratio",
            "lower",
            "upper",
            "threshold",
            "outcome",
            "decides",
            "note",
        ],
    );
    table.rows = all.into_iter().map(row).collect();
    section.table(table);
    if !reasons.is_empty() {
        section.text("Compared with nothing:");
    }
    section.list(reasons.into_iter().map(str::to_owned).collect());
    section
}

fn row(one: &JudgedFigure) -> Vec<String> {
    let of = |pick: fn(&Ratio) -> f64| {
        one.ratio.as_ref().map_or_else(String::new, |ratio| format!("{:.3}", pick(ratio)))
    };
    let figure = &one.figure;
    vec![
        figure.to_string(),
        format!("{} {}", figure.value, figure.unit),
        format!("{}; {}", figure.date, figure.note),
        format!("{}, {}", one.place, name_of(one.accelerator)),
        one.ours.map_or_else(String::new, |rate| format!("{rate:.0} {}", figure.unit)),
        of(|ratio| ratio.estimate),
        of(|ratio| ratio.lower),
        of(|ratio| ratio.upper),
        one.threshold.to_string(),
        State::from(one.outcome).to_string(),
        if one.decides { "yes" } else { "no" }.to_owned(),
        one.note.clone(),
    ]
}

/// Removes repeated texts, because both places record the same.
fn once<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut seen = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}
