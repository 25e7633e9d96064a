//! Writes the report and its companions into a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evidence::files::REPORT_PAGE;

use super::html::html;
use super::ktap::ktap;
use super::markdown::markdown;
use super::repro;
use super::run::Run;
use crate::junit;
use crate::text::named;

/// Writes the report of `run`, whose directory is `from`, into `into`: `report.html`, `report.md`,
/// `report.ktap`, `junit.xml`, and a script in `repro/` for each trial that failed. Returns the
/// path of the page.
pub fn write(run: &Run, from: &Path, into: &Path) -> io::Result<PathBuf> {
    let files =
        [(REPORT_PAGE, html(run)), ("report.md", markdown(run)), ("report.ktap", ktap(run))];
    for (name, text) in files {
        let path = into.join(name);
        fs::write(&path, text).map_err(named(&path))?;
    }
    write_for_machines(run, from, into)?;
    Ok(into.join(REPORT_PAGE))
}

/// Writes into `into` what CI and a shell read about `run`, whose directory is `from`: `junit.xml`,
/// and `repro/<trial>.sh` for each trial that failed or never ended.
pub fn write_for_machines(run: &Run, from: &Path, into: &Path) -> io::Result<()> {
    let path = into.join(junit::FILE);
    junit::of(run, from).and_then(|text| fs::write(&path, text)).map_err(named(&path))?;
    repro::write(run, into).map_err(named(&into.join(repro::DIRECTORY)))
}
