//! The report for a pull request: words and tables, no drawings.

use std::fmt::Write;

use super::run::Run;
use super::section::{SectionPart, Table};
use super::sections::sections;
use super::summary;

/// How many lines of a log a pull request is shown; the page has all of them.
const LINES: usize = 30;

/// Writes the whole report.
pub fn markdown(run: &Run) -> String {
    let mut text = format!("# VexFS validation: {}\n\n", run.verdict.state);
    let _ = writeln!(text, "{}\n", plain(&summary::subtitle(run)));
    let _ = writeln!(text, "Bare metal: **{}**", run.verdict.bare_metal.state);
    for section in sections(run) {
        let _ = writeln!(text, "\n## {}", section.title);
        for part in &section.parts {
            write(part, &mut text);
        }
    }
    crate::text::clean(&text)
}

fn write(part: &SectionPart, text: &mut String) {
    text.push('\n');
    match part {
        SectionPart::Text(words) => {
            let _ = writeln!(text, "{}", plain(words));
        }
        SectionPart::List(items) => {
            for item in items {
                let _ = writeln!(text, "- {}", plain(item));
            }
        }
        SectionPart::Table(rows) | SectionPart::Figures(_, rows) => table(rows, text),
        SectionPart::Lines(caption, lines) => {
            let left_out = lines.len().saturating_sub(LINES);
            let note = if left_out > 0 {
                format!("; the first {left_out} are in the page")
            } else {
                String::new()
            };
            folded(&(plain(caption) + &note), &lines[left_out..], text);
        }
        SectionPart::Excerpt(caption, lines) => folded(&plain(caption), lines, text),
        SectionPart::Commands(commands) => code(commands, text),
    }
}

fn folded(caption: &str, lines: &[String], text: &mut String) {
    let _ = writeln!(text, "<details><summary>{caption}</summary>\n");
    code(lines, text);
    let _ = writeln!(text, "\n</details>");
}

fn table(table: &Table, text: &mut String) {
    let _ = writeln!(text, "{}:\n", plain(&table.caption));
    let _ = writeln!(text, "| {} |", table.head.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(table.head.len()));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| plain(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// An indented code block, because no line can end it, unlike a fenced one.
fn code(lines: &[String], text: &mut String) {
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
}

/// Text on one line, with the characters that Markdown would interpret escaped.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for glyph in text.chars() {
        match glyph {
            '\n' | '\r' => plain.push_str("<br>"),
            '<' => plain.push_str("&lt;"),
            '|' | '*' | '_' | '`' | '\\' | '[' | ']' => {
                plain.push('\\');
                plain.push(glyph);
            }
            other => plain.push(other),
        }
    }
    plain
}
