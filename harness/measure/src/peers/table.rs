//! The result as a table: for the terminal, and as Markdown for `docs/engine.md`.

use serde_json::Value;

use super::row::{PeerOperation, Row};

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct PeersColumn {
    name: &'static str,
    /// Numbers are aligned to the right.
    number: bool,
}

impl PeersColumn {
    /// A column of words.
    pub const fn text(name: &'static str) -> Self {
        PeersColumn { name, number: false }
    }

    /// A column of numbers.
    pub const fn number(name: &'static str) -> Self {
        PeersColumn { name, number: true }
    }
}

/// A table of `N` columns.
pub struct PeersTable<const N: usize> {
    /// The columns, whose names are the first line.
    pub columns: [PeersColumn; N],
    /// The other lines.
    pub lines: Vec<[String; N]>,
}

impl<const N: usize> PeersTable<N> {
    fn head(&self) -> [String; N] {
        self.columns.map(|column| column.name.to_owned())
    }

    /// The table as text, in columns of even width.
    pub fn plain(&self) -> String {
        let head = self.head();
        let lines = || std::iter::once(&head).chain(&self.lines);
        let widths: Vec<usize> = (0..N)
            .map(|at| lines().map(|line| line[at].chars().count()).max().unwrap_or(0))
            .collect();
        let padded = |line: &[String; N]| -> String {
            let cells = line.iter().zip(&widths).zip(&self.columns);
            let cells = cells.map(|((cell, &width), column)| {
                if column.number { format!("{cell:>width$}") } else { format!("{cell:width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        lines().map(padded).collect()
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String; N]| format!("| {} |\n", cells.join(" | "));
        let rule = self.columns.map(|one| if one.number { "---:" } else { "---" }.to_owned());
        line(&self.head()) + &line(&rule) + &self.lines.iter().map(line).collect::<String>()
    }
}

const COLUMNS: [PeersColumn; 13] = [
    PeersColumn::text("data"),
    PeersColumn::text("kind"),
    PeersColumn::text("ours"),
    PeersColumn::number("recall"),
    PeersColumn::number("qps"),
    PeersColumn::text("peer"),
    PeersColumn::text("peer's"),
    PeersColumn::number("recall"),
    PeersColumn::number("qps"),
    PeersColumn::number("ratio [lower, upper]"),
    PeersColumn::number("net of call [lower]"),
    PeersColumn::number("bound qps"),
    PeersColumn::text("goal"),
];

/// The rows in columns of even width, one line each.
pub fn plain(rows: &[Row]) -> String {
    table(rows).plain()
}

/// The rows as a Markdown table.
pub fn markdown(rows: &[Row]) -> String {
    table(rows).markdown()
}

fn table(rows: &[Row]) -> PeersTable<13> {
    PeersTable { columns: COLUMNS, lines: rows.iter().map(cells).collect() }
}

fn cells(row: &Row) -> [String; 13] {
    let kind = match row.operation {
        PeerOperation::Search => row.kind.clone(),
        PeerOperation::Build => format!("{} build", row.kind),
    };
    [
        row.data.clone(),
        kind,
        options(&row.options),
        format!("{:.3}", row.recall),
        format!("{:.0}", row.qps),
        format!("{} {}", row.peer, row.peer_version),
        options(&row.peer_options),
        format!("{:.3}", row.peer_recall),
        format!("{:.0}", row.peer_qps),
        bounded(row.ratio, &[row.lower, row.upper]),
        bounded(row.net_ratio, &[row.net_lower]),
        row.bound_qps.map_or_else(String::new, |qps| format!("{qps:.0}")),
        format!("{:.1} {}", row.goal, row.result),
    ]
}

/// A ratio with its bounds, if it has all of them.
pub fn bounded(ratio: f64, bounds: &[Option<f64>]) -> String {
    let shown: Option<Vec<String>> =
        bounds.iter().map(|bound| bound.map(|bound| format!("{bound:.2}"))).collect();
    match shown {
        Some(shown) => format!("{ratio:.2} [{}]", shown.join(", ")),
        None => format!("{ratio:.2}"),
    }
}

/// Options in the form `name value`; the parameter that can be set for each search comes last.
fn options(options: &Value) -> String {
    let shown = |(name, value): (&String, &Value)| match value {
        Value::String(text) => text.clone(),
        value if name == "ef_construction" => format!("efc {value}"),
        value => format!("{name} {value}"),
    };
    let last = ["ef", "nprobe", "refine"];
    let mut pairs: Vec<_> = options.as_object().into_iter().flatten().collect();
    pairs.sort_by_key(|(name, value)| (!value.is_string(), last.contains(&name.as_str())));
    pairs.into_iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn columns_are_even_and_say_what_was_measured() {
        let build = Row {
            operation: PeerOperation::Build,
            lower: None,
            net_lower: None,
            bound_qps: None,
            ..row()
        };
        let table = plain(&[row(), build]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        let at = |line: &str, part: &str| line.find(part).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(at(lines[1], "hnswlib 0.8.0"), at(lines[2], "hnswlib 0.8.0"));
        assert!(lines[1].contains("efc 200, m 16, ef 240"), "{table}");
        assert!(lines[1].contains("2.00 [2.00, 2.00]") && lines[1].ends_with("1.0 reached"));
        assert!(lines[2].contains("HNSW build") && !lines[2].contains('['), "{table}");
    }

    #[test]
    fn markdown_has_a_cell_a_column() {
        let table = markdown(&[row()]);
        let bars: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(bars, [14, 14, 14], "{table}");
        assert!(table.lines().nth(1).is_some_and(|rule| rule.contains("| ---: |")));
    }

    #[test]
    fn a_peers_index_comes_first_and_the_search_option_last() {
        let given = json!({"ef": 64, "index": "hnsw", "m": 16});
        assert_eq!(options(&given), "hnsw, m 16, ef 64");
        assert_eq!(options(&json!({})), "");
    }
}
