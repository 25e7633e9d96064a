//! The page: one file, no script, nothing loaded from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::run::Run;
use super::section::{Section, SectionPart, Table};
use super::sections::sections;
use super::summary;
use crate::rule::judgement::State;
use crate::text::class_of;

const STYLE: &str = include_str!("style.css");

/// A table with at least this many rows is folded until a reader opens it.
const LONG: usize = 24;

/// Writes the whole page.
pub fn html(run: &Run) -> String {
    let sections = sections(run);
    let state = run.verdict.state;
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "VexFS validation: " (state) ", run " (run.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header class=(class_of(state)) {
                    h1 { "VexFS validation: " span.verdict { (sign(state)) " " (state) } }
                    p.subtitle { (summary::subtitle(run)) }
                    p { "Bare metal: " strong { (run.verdict.bare_metal.state) } }
                }
                nav aria-label="Sections" {
                    ul { @for one in &sections { li { a href={ "#" (one.id) } { (one.title) } } } }
                }
                main { @for one in &sections { (section(one)) } }
                footer { p { "Made from the evidence in this directory by vexfs-validate report." } }
            }
        }
    };
    crate::text::clean(&page.into_string()) + "\n"
}

fn section(one: &Section) -> Markup {
    markup! {
        section id=(one.id) aria-labelledby={ (one.id) "-heading" } {
            h2 id={ (one.id) "-heading" } { (one.title) }
            @for (index, part) in one.parts.iter().enumerate() {
                (write(part, &format!("{}-{index}", one.id)))
            }
        }
    }
}

fn write(part: &SectionPart, id: &str) -> Markup {
    match part {
        SectionPart::Text(text) => markup! { p { (text) } },
        SectionPart::List(items) => markup! { ul.items { @for item in items { li { (item) } } } },
        SectionPart::Table(table) => foldable(table),
        SectionPart::Figures(plots, table) => markup! {
            div.plots {
                @for (index, plot) in plots.iter().enumerate() {
                    (plot.figure(&format!("{id}-{index}")))
                }
            }
            (foldable(table))
        },
        SectionPart::Lines(caption, lines) | SectionPart::Excerpt(caption, lines) => markup! {
            details { summary { (caption) } pre tabindex="0" { (lines.join("\n")) } }
        },
        SectionPart::Commands(commands) => {
            markup! { pre.commands tabindex="0" { (commands.join("\n")) } }
        }
    }
}

/// A table; a long one is folded until a reader opens it.
fn foldable(one: &Table) -> Markup {
    if one.rows.len() < LONG {
        return table(one);
    }
    markup! {
        details { summary { (one.caption) " (" (one.rows.len()) " rows)" } (table(one)) }
    }
}

fn table(one: &Table) -> Markup {
    markup! {
        div.scroll tabindex="0" role="region" aria-label=(one.caption) {
            table {
                caption { (one.caption) }
                thead {
                    tr {
                        @for (column, title) in one.head.iter().enumerate() {
                            th.number[is_of_numbers(one, column)] scope="col" { (title) }
                        }
                    }
                }
                tbody {
                    @for row in &one.rows { tr { @for text in row { (cell(text)) } } }
                }
            }
        }
    }
}

/// States get a colour and a sign; numbers are aligned to the right.
fn cell(text: &str) -> Markup {
    let states = [State::Pass, State::Fail, State::Inconclusive];
    if let Some(state) = states.into_iter().find(|state| state.to_string() == text) {
        return markup! { td { span class={ "state " (class_of(state)) } { (sign(state)) " " (text) } } };
    }
    if is_number(text) {
        return markup! { td.number { (text) } };
    }
    markup! { td { (text) } }
}

fn is_number(text: &str) -> bool {
    let digit = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '\u{202f}');
    !text.is_empty() && text.chars().all(digit)
}

fn is_of_numbers(table: &Table, column: usize) -> bool {
    table.rows.iter().filter_map(|row| row.get(column)).all(|text| is_number(text))
}

/// A sign for readers who cannot tell the colours apart.
fn sign(state: State) -> char {
    match state {
        State::Pass => '✓',
        State::Fail => '✗',
        State::Inconclusive => '?',
    }
}
