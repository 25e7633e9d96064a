//! What the kernel held, and how long it took, over the load/unload cycles.

use serde_json::Value;

use super::plot::{Axis, Frame, Plot, Scale, number};
use super::run::Run;
use super::section::{Section, Table};
use crate::evidence::Event;
use crate::soak::Cycle;
use crate::stats::median;

/// A series that a trial may record with its cycles: its name in the fact, a title, the unit.
const SERIES: [(&str, &str, &str); 3] = [
    ("kernel_memory_kib", "Kernel memory", "KiB"),
    ("live_allocations", "Live allocations of the module", "allocations"),
    ("microseconds", "Time of a cycle", "µs"),
];

pub(super) fn section(run: &Run) -> Section {
    let mut section = Section::new("cycles", "Load and unload cycles");
    let mut plots = Vec::new();
    let mut table = Table::new(
        "First and last tenth of the cycles",
        &[
            "trial",
            "what",
            "unit",
            "cycles",
            "median of the first",
            "median of the last",
            "least",
            "greatest",
        ],
    );
    let of_trials = facts(run, "cycles")
        .map(|(trial, value)| (trial.to_owned(), SERIES.map(|(name, ..)| numbers(&value[name]))));
    let of_soaks = run.evidence.soaks().iter().map(|soak| {
        (format!("soak {} on {}", soak.name, soak.kernel_release), of_soak(&soak.history))
    });
    for (trial, all) in of_trials.chain(of_soaks) {
        for ((_, title, unit), series) in SERIES.into_iter().zip(all) {
            let tenth = (series.len() / 10).max(1);
            let (Some(first), Some(last)) = (
                series.get(..tenth).and_then(median),
                series.len().checked_sub(tenth).and_then(|at| median(&series[at..])),
            ) else {
                continue;
            };
            let (least, greatest) = (fold(&series, f64::min), fold(&series, f64::max));
            let told = [first, last, least, greatest].map(number);
            let mut row =
                vec![trial.clone(), title.to_owned(), unit.to_owned(), series.len().to_string()];
            row.extend(told.clone());
            table.rows.push(row);
            let [first, last, least, greatest] = told;
            let alt = format!(
                "{title} over {} cycles: from {first} to {last} {unit} (medians of the first and \
                 last tenth), between {least} and {greatest}.",
                series.len()
            );
            plots.push(curve(&format!("{title}, {trial}"), unit, &alt, &series));
        }
    }
    section.figures(plots, table, "No load/unload cycle was recorded.");
    let mut used =
        Table::new("Allocations of the module that were live after use", &["trial", "allocations"]);
    for (trial, value) in facts(run, "live allocations after use") {
        used.rows.push(vec![trial.to_owned(), value.to_string()]);
    }
    section.table(used);
    section
}

/// The series of a soak, in the order of [`SERIES`].
fn of_soak(history: &[Cycle]) -> [Vec<f64>; 3] {
    let series = |of: fn(&Cycle) -> f64| history.iter().map(of).collect();
    [
        series(|one| one.kernel_memory_kib as f64),
        series(|one| one.live_allocations as f64),
        series(|one| one.microseconds as f64),
    ]
}

fn facts<'r>(run: &'r Run, wanted: &'static str) -> impl Iterator<Item = (&'r str, &'r Value)> {
    run.records().filter_map(move |record| match &record.event {
        Event::Fact { trial, name, value } if name == wanted => Some((trial.as_str(), value)),
        _ => None,
    })
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn fold(series: &[f64], with: fn(f64, f64) -> f64) -> f64 {
    series.iter().copied().reduce(with).unwrap_or(f64::NAN)
}

fn curve(title: &str, unit: &str, alt: &str, series: &[f64]) -> Plot {
    let mut plot = Plot::new(format!("{title}, over the cycles"), alt, 230.0);
    let y = Axis::around(unit, Scale::Linear, series.iter().copied());
    let frame = Frame::new(&mut plot, Axis::exactly("cycle", 0.0, series.len() as f64), y);
    let points = series.iter().enumerate().map(|(index, &value)| (index as f64 + 1.0, value));
    plot.add(frame.line("a", points));
    plot
}
