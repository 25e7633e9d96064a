//! The report of a run: a page for a person, Markdown for a pull request, KTAP for kernel CI.
//!
//! A pure function of the run's directory. [`Run`] reads it, also where it is cut short; modules
//! make [`Section`]s of it, in words, tables and drawings; [`html`] and [`markdown`] write those
//! down. No drawing is without its table, so Markdown has every number that the page has.

mod cycles;
mod html;
mod ktap;
mod markdown;
mod plot;
mod ratios;
mod recorded;
mod repro;
mod run;
mod sabotage;
mod sanitizers;
mod section;
mod speed;
mod summary;
mod surroundings;
mod timeline;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use html::html;
pub use ktap::ktap;
pub use markdown::markdown;
pub(crate) use plot::shortened;
pub use run::{Run, SABOTAGE, SANITIZED};
pub use section::{Part, Section, Table};

use crate::junit;
use crate::verdict::State;

/// The page's name in a run's directory.
pub const PAGE: &str = "report.html";

/// All sections, in reading order.
#[must_use]
pub fn sections(run: &Run) -> Vec<Section> {
    let mut sections = vec![summary::criteria(run)];
    sections.extend(summary::missing(run));
    sections.extend([
        summary::bare_metal(run),
        ratios::section(run),
        recorded::section(run),
        speed::latencies(run),
        speed::recall(run),
        cycles::section(run),
        timeline::section(run),
    ]);
    sections.extend(sabotage::section(run));
    sections.extend(sanitizers::section(run));
    sections.extend([
        surroundings::trials(run),
        surroundings::environment(run),
        surroundings::kernel_log(run),
        surroundings::again(run),
    ]);
    sections
}

/// Writes `report.html`, `report.md`, `report.ktap` and `junit.xml` of the run in `from`, and of
/// `soaks` beside its own, into `into`, with a script in `repro/` for each trial that failed, and
/// returns the page's path.
///
/// # Errors
/// Where the evidence cannot be read or a file cannot be written.
pub fn write(from: &Path, into: &Path, soaks: &[PathBuf]) -> io::Result<PathBuf> {
    let run = Run::read(from, soaks)?;
    let files = [(PAGE, html(&run)), ("report.md", markdown(&run)), ("report.ktap", ktap(&run))];
    for (name, text) in files {
        let path = into.join(name);
        fs::write(&path, text).map_err(named(&path))?;
    }
    write_for_machines(&run, from, into)?;
    Ok(into.join(PAGE))
}

/// Writes what CI and a shell read of `run`, whose directory is `from`, into `into`: `junit.xml`,
/// and `repro/<trial>.sh` for each trial that failed or never ended.
///
/// # Errors
/// Where a file cannot be written.
pub fn write_for_machines(run: &Run, from: &Path, into: &Path) -> io::Result<()> {
    let path = into.join(junit::FILE);
    junit::of(run, from).and_then(|text| fs::write(&path, text)).map_err(named(&path))?;
    repro::write(run, into).map_err(named(&into.join(repro::DIRECTORY)))
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// `text` as a page, Markdown and XML may hold it: consoles and programs send colours and other
/// controls.
pub(crate) fn clean(text: &str) -> String {
    let shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    console::strip_ansi_codes(text).chars().filter(shown).collect()
}

/// The class of a state's colour.
fn class_of(state: State) -> &'static str {
    match state {
        State::Pass => "pass",
        State::Fail => "fail",
        State::Inconclusive => "inconclusive",
    }
}

#[cfg(test)]
pub(crate) mod tests;
