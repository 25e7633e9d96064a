//! The result as a table: for the terminal, and as Markdown for `docs/engine.md`.

use serde_json::Value;

use super::result::{Line, Measured};
use crate::peers::table::{PeersColumn, PeersTable, bounded};

const COLUMNS: [PeersColumn; 11] = [
    PeersColumn::text("data"),
    PeersColumn::text("index"),
    PeersColumn::number("recall by default"),
    PeersColumn::number("q/s by default"),
    PeersColumn::number("by default over Flat [lower, upper]"),
    PeersColumn::text("at recall 0.95"),
    PeersColumn::number("recall"),
    PeersColumn::number("q/s"),
    PeersColumn::number("bytes a row"),
    PeersColumn::number("beside the best peer [lower, upper]"),
    PeersColumn::number("net of call [lower]"),
];

/// A line for each index, and after the table the indexes that are absent.
pub fn plain(sets: &[Measured]) -> String {
    table(sets).plain() + &absent(sets, "")
}

/// The same as Markdown.
pub fn markdown(sets: &[Measured]) -> String {
    table(sets).markdown() + "\n" + &absent(sets, "- ")
}

fn table(sets: &[Measured]) -> PeersTable<11> {
    let lines = sets.iter().flat_map(|set| {
        let best = set.best_of_ours().map(|line| line.index.clone());
        set.lines.iter().map(move |line| cells(set, line, best.as_ref() == Some(&line.index)))
    });
    PeersTable { columns: COLUMNS, lines: lines.collect() }
}

fn cells(set: &Measured, line: &Line, best: bool) -> [String; 11] {
    let shown = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    let enough = line.enough.as_ref();
    let beside = line.beside.as_ref();
    [
        format!("{} {}x{} {}", set.set, set.rows, set.dim, set.metric),
        match (line.ours, best) {
            (true, true) => format!("**{}**", line.index),
            (true, false) => line.index.clone(),
            _ => format!("{} {}", line.index, line.version),
        },
        shown(line.default_recall, 3),
        shown(line.default_qps, 0),
        line.over_flat
            .map_or_else(String::new, |over| bounded(over.ratio, &[over.lower, over.upper])),
        match enough {
            Some(enough) => setting(&enough.setting),
            None => format!("not reached: {:.3}", line.best_recall),
        },
        shown(enough.map(|enough| enough.recall), 3),
        shown(enough.map(|enough| enough.qps), 0),
        shown(Some(line.bytes_per_row), 0),
        beside.map_or_else(String::new, |beside| {
            let ratio = bounded(beside.ratio, &[beside.lower, beside.upper]);
            format!("{ratio} {}", beside.index)
        }),
        beside.map_or_else(String::new, |beside| bounded(beside.net_ratio, &[beside.net_lower])),
    ]
}

/// A setting in the form `name value`.
fn setting(setting: &Value) -> String {
    let pairs: Vec<String> = setting
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if pairs.is_empty() { "as built".to_owned() } else { pairs.join(", ") }
}

/// The indexes that are absent, on a line for each index and reason.
fn absent(sets: &[Measured], before: &str) -> String {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for set in sets {
        for absent in &set.absent {
            let what = format!("{}: {}", absent.index, absent.why);
            match said.iter_mut().find(|(known, _)| *known == what) {
                Some((_, on)) => on.push(&set.set),
                None => said.push((what, vec![&set.set])),
            }
        }
    }
    let line = |(what, on): (String, Vec<&str>)| {
        let on = if on.len() == sets.len() { "all".to_owned() } else { on.join(", ") };
        format!("{before}not on {on}: {what}\n")
    };
    said.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::result::tests::measured;
    use super::*;

    #[test]
    fn a_line_says_what_was_found() {
        let table = plain(&[measured()]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 6, "{table}");
        assert!(lines[1].contains("sift 20000x128 l2  **HNSW**"), "{table}");
        assert!(lines[1].contains("2.30 [2.30, 2.30] glass hnsw"), "{table}");
        assert!(lines[2].contains("not reached: 0.410"), "{table}");
        assert!(lines[2].contains("0.70 [0.70, 0.70]"), "{table}");
        assert!(lines[4].contains("glass hnsw 1.2") && lines[4].contains("ef 64"), "{table}");
        assert_eq!(lines[5], "not on all: ngt: it does not load");
    }

    #[test]
    fn markdown_has_a_cell_a_column() {
        let table = markdown(&[measured()]);
        let bars = |line: &&str| line.starts_with('|').then(|| line.matches('|').count());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.iter().filter_map(bars).collect::<Vec<_>>(), [12; 6]);
        assert!(table.ends_with("- not on all: ngt: it does not load\n"), "{table}");
    }

    #[test]
    fn the_default_is_named() {
        assert_eq!(setting(&serde_json::json!({})), "as built");
        assert_eq!(setting(&serde_json::json!({"lists": 3, "refine": 30})), "lists 3, refine 30");
    }
}
