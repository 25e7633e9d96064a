//! Memory that the kernel held over the load/unload cycles, and how long they took.

use evidence::facts::{LIVE_AFTER_USE, LOAD_CYCLE, LOAD_CYCLES, LoadCycle, SoakCycle};
use evidence::stats::median;
use evidence::{Event, Record};
use serde::Deserialize;
use serde_json::Value;

use super::plot::{Axis, Frame, Plot, Scale, number};
use super::run::Run;
use super::section::{Section, Table};
use crate::index::Fact;

/// The cycles of a trial that were recorded.
struct TrialCycles<'r> {
    trial: &'r str,
    /// In the order of [`SERIES`].
    series: [Vec<f64>; 3],
    /// Whether the trial said that these were all of them.
    all: bool,
}

/// A series that a trial may record with its cycles: its name in the fact, its title, its unit.
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
    let trials = of_trials(run.records());
    for one in trials.iter().filter(|one| !one.all) {
        let done = one.series[0].len();
        section.text(format!(
            "{} did {done} cycles, and did not come to the end of the next one, cycle {done}.",
            one.trial
        ));
    }
    let of_trials = trials.into_iter().map(|one| (one.trial.to_owned(), one.series));
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
    for Fact { trial, value } in run.evidence.all_facts(LIVE_AFTER_USE) {
        used.rows.push(vec![trial.to_owned(), value.to_string()]);
    }
    section.table(used);
    section
}

/// The cycles that the trials of a run recorded: each cycle on its own, and all of them at the end.
/// Evidence of older runs has only the record at the end.
fn of_trials<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<TrialCycles<'r>> {
    let mut found: Vec<TrialCycles<'_>> = Vec::new();
    for record in records {
        let Event::Fact { trial, name, value } = &record.event else { continue };
        let latest = found.iter().rposition(|one| one.trial == trial);
        let open = latest.filter(|&at| !found[at].all);
        if name == LOAD_CYCLES {
            let series = SERIES.map(|(name, ..)| numbers(&value[name]));
            let whole = TrialCycles { trial, series, all: true };
            match open {
                Some(at) => found[at] = whole,
                None => found.push(whole),
            }
        } else if name == LOAD_CYCLE
            && let Ok(cycle) = LoadCycle::deserialize(value)
        {
            // A trial that is run again starts a new list.
            let at = open.filter(|_| cycle.number > 0).unwrap_or_else(|| {
                found.push(TrialCycles { trial, series: Default::default(), all: false });
                found.len() - 1
            });
            let values = [
                cycle.kernel_memory_kib as f64,
                cycle.live_allocations as f64,
                cycle.microseconds as f64,
            ];
            for (series, value) in found[at].series.iter_mut().zip(values) {
                series.push(value);
            }
        }
    }
    found
}

/// The series of a soak, in the order of [`SERIES`].
fn of_soak(history: &[SoakCycle]) -> [Vec<f64>; 3] {
    let series = |of: fn(&SoakCycle) -> f64| history.iter().map(of).collect();
    [
        series(|one| one.kernel_memory_kib as f64),
        series(|one| one.live_allocations as f64),
        series(|one| one.microseconds as f64),
    ]
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

#[cfg(test)]
mod tests {
    use evidence::place::Place;
    use evidence::{Writer, read_trail};
    use serde_json::json;

    use super::*;

    fn cycle(number: u32) -> Event {
        let cycle = LoadCycle {
            number,
            microseconds: 55_000,
            kernel_memory_kib: 61_000 + i64::from(number),
            live_allocations: 0,
        };
        Event::Fact { trial: "module::a".into(), name: LOAD_CYCLE.into(), value: json!(cycle) }
    }

    fn all(count: u32) -> Event {
        let memory: Vec<u32> = (0..count).map(|number| 61_000 + number).collect();
        let value = json!({ "microseconds": vec![55_000; count as usize],
            "kernel_memory_kib": memory, "live_allocations": vec![0; count as usize] });
        Event::Fact { trial: "module::a".into(), name: LOAD_CYCLES.into(), value }
    }

    /// For each run of the trial: how many cycles it did, the last cycle's memory, and whether it
    /// did all.
    fn told(events: impl IntoIterator<Item = Event>) -> Vec<(usize, f64, bool)> {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(dir.path(), Place::Guest).unwrap();
        for event in events {
            writer.write(event).unwrap();
        }
        let trail = read_trail(dir.path(), Place::Guest).unwrap().unwrap();
        let tell = |one: TrialCycles| {
            let [memory, live, time] = one.series;
            assert!(memory.len() == live.len() && live.len() == time.len());
            (memory.len(), memory[memory.len() - 1], one.all)
        };
        of_trials(trail.records.iter()).into_iter().map(tell).collect()
    }

    #[test]
    fn cycles_count_up_to_where_a_guest_went_down() {
        assert_eq!(told((0..150).map(cycle)), [(150, 61_149.0, false)]);
    }

    #[test]
    fn cycles_that_were_all_done_are_told_once() {
        assert_eq!(told((0..300).map(cycle).chain([all(300)])), [(300, 61_299.0, true)]);
        // As in older evidence.
        assert_eq!(told([all(300)]), [(300, 61_299.0, true)]);
    }

    #[test]
    fn a_trial_that_is_run_again_begins_anew() {
        let events = (0..3).chain(0..5).map(cycle).chain([all(5), all(7)]);
        assert_eq!(told(events), [(3, 61_002.0, false), (5, 61_004.0, true), (7, 61_006.0, true)]);
    }
}
