//! `vexfs-validate diff DIR DIR`

use std::path::Path;
use std::process::ExitCode;

use evidence::exit;
use verdict::diff::Difference;

use super::output::out;
use super::stop::Stop;

pub(super) fn run(before: &Path, after: &Path) -> Result<ExitCode, Stop> {
    let difference = Difference::of(before, after).map_err(|error| {
        Stop::new(exit::EVIDENCE, format!("{error}; name the directories of two runs"))
    })?;
    out!("{difference}");
    Ok(ExitCode::SUCCESS)
}
