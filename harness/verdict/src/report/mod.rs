//! The report of a run: a page for a person, Markdown for a pull request, KTAP for kernel CI.
//!
//! The report is a pure function of the run's directory. [`Run`] reads the directory, even if the
//! run was cut short; modules turn it into [`Section`]s of words, tables and drawings; [`html`] and
//! [`markdown`] write those down. Every drawing has a table beside it, so Markdown has every number
//! that the page has.

mod cycles;
mod details;
mod html;
mod ktap;
mod markdown;
mod plot;
mod ratios;
mod recorded;
mod repro;
pub(crate) mod run;
mod sabotage;
mod sanitized;
mod sanitizers;
mod section;
mod sections;
mod speed;
mod summary;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;
mod write;

pub use html::html;
pub use ktap::ktap;
pub use markdown::markdown;
pub use run::Run;
pub use section::{Section, SectionPart, Table};
pub use sections::sections;
pub use write::{write, write_for_machines};
