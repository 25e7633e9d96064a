//! What a report consists of, before it becomes HTML or Markdown.

use super::plot::Plot;

/// A part of the report, with a heading of its own.
pub struct Section {
    /// Anchor on the page.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What it holds, in reading order.
    pub parts: Vec<SectionPart>,
}

/// A piece of a section.
pub enum SectionPart {
    /// A paragraph.
    Text(String),
    /// Short items, one below the other.
    List(Vec<String>),
    /// Rows of text.
    Table(Table),
    /// Drawings beside each other, and the numbers that they show.
    Figures(Vec<Plot>, Table),
    /// Lines that a program wrote, under a caption; folded until a reader opens it.
    Lines(String, Vec<String>),
    /// As `Lines`, but few enough to be shown in full wherever the report is read.
    Excerpt(String, Vec<String>),
    /// Commands to copy.
    Commands(Vec<String>),
}

/// Rows of text under a caption.
pub struct Table {
    /// What the rows show.
    pub caption: String,
    /// Column titles.
    pub head: Vec<&'static str>,
    /// One cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Section {
    pub(super) fn new(id: &'static str, title: &'static str) -> Self {
        Section { id, title, parts: Vec::new() }
    }

    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.parts.push(SectionPart::Text(text.into()));
    }

    /// Adds a list, unless it is empty.
    pub(super) fn list(&mut self, items: Vec<String>) {
        if !items.is_empty() {
            self.parts.push(SectionPart::List(items));
        }
    }

    /// Adds a table, unless it has no rows.
    pub(super) fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.parts.push(SectionPart::Table(table));
        }
    }

    /// Adds plots and their numbers, or the words `without` if there are none.
    pub(super) fn figures(&mut self, plots: Vec<Plot>, numbers: Table, without: &str) {
        if numbers.rows.is_empty() {
            self.text(without);
        } else {
            self.parts.push(SectionPart::Figures(plots, numbers));
        }
    }

    pub(super) fn lines(&mut self, caption: impl Into<String>, lines: Vec<String>) {
        if !lines.is_empty() {
            self.parts.push(SectionPart::Lines(caption.into(), lines));
        }
    }
}

impl Table {
    pub(super) fn new(caption: impl Into<String>, head: &[&'static str]) -> Self {
        Table { caption: caption.into(), head: head.to_vec(), rows: Vec::new() }
    }
}
