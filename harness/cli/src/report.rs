//! `vexfs-validate report DIR`

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use evidence::exit;
use verdict::report::{self, Run};

use super::output::outln;
use super::stop::Stop;

pub(super) fn run(dir: &Path, into: Option<&Path>, soaks: &[PathBuf]) -> Result<ExitCode, Stop> {
    let page = write(dir, into.unwrap_or(dir), soaks)?;
    outln!("{}", page.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes the report of the run in `from`, with `soaks` besides its own, into `into`. Returns the
/// page's path.
fn write(from: &Path, into: &Path, soaks: &[PathBuf]) -> Result<PathBuf, Stop> {
    write_run(Run::read(from, soaks), from, into)
}

/// Writes the report of `run`, whose directory is `from`, into `into`. Returns the page's path.
pub(super) fn write_run(run: io::Result<Run>, from: &Path, into: &Path) -> Result<PathBuf, Stop> {
    run.and_then(|run| report::write(&run, from, into)).map_err(|error| {
        Stop::new(
            exit::EVIDENCE,
            format!(
                "{error}; name the directory of a run, e.g. target/validation/latest, and with \
                 --into one that can be written"
            ),
        )
    })
}
