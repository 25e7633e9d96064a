//! `vexfs-validate verdict DIR`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use evidence::exit;
use verdict::{self, Evidence, Verdict};

use super::output::out;
use super::stop::Stop;

pub(super) fn run(dir: &Path, soaks: &[PathBuf], json: bool) -> Result<ExitCode, Stop> {
    let verdict = verdict::of(&read(dir, soaks)?);
    if json {
        out!("{}", to_json(&verdict)?);
    } else {
        out!("{}", verdict::table(&verdict));
    }
    Ok(verdict::exit_of(verdict.state).into())
}

/// Reads the evidence in `dir`, with `soaks` besides its own.
pub(super) fn read(dir: &Path, soaks: &[PathBuf]) -> Result<Evidence, Stop> {
    let mut evidence = Evidence::read(dir).map_err(|error| {
        Stop::new(
            exit::EVIDENCE,
            format!("{error}; name the directory of a run, e.g. target/validation/latest"),
        )
    })?;
    evidence.add_soaks(soaks).map_err(|error| {
        Stop::new(exit::EVIDENCE, format!("{error}; name directories of `soak --for` with --soak"))
    })?;
    Ok(evidence)
}

pub(super) fn to_json(verdict: &Verdict) -> Result<String, Stop> {
    serde_json::to_string_pretty(verdict)
        .map(|text| text + "\n")
        .map_err(|error| Stop::new(exit::EVIDENCE, error))
}
