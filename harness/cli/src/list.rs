//! `vexfs-validate list`: the trials that each place must run.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Args;
use criteria::trial::{DECLARATIONS_VARIABLE, Declaration};
use evidence::exit;
use evidence::place::Place;
use machine::child::output;
use machine::failure::{Failure, WithContext};
use machine::project;

use super::output::outln;
use super::stop::Stop;
use crate::expected::Expected;

/// What `list` does beside listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct ListOptions {
    /// Write what the test targets declare into the expected-tests manifest
    #[arg(long, conflicts_with = "check")]
    update: bool,
    /// Fail where the test targets declare other trials than the manifest has
    #[arg(long)]
    check: bool,
    /// Print nextest's filterset of the guest's trials that take long on an emulated CPU, no list
    #[arg(long, conflicts_with_all = ["update", "check"])]
    long: bool,
}

pub(super) fn run(options: ListOptions) -> Result<ExitCode, Stop> {
    let stop = |failure: Failure| Stop::new(exit::SETUP, failure);
    let mut expected = Expected::load().map_err(stop)?;
    if options.long {
        outln!("{}", expected.long_filterset());
        return Ok(ExitCode::SUCCESS);
    }
    if options.update {
        expected = expected.updated(declared().map_err(stop)?);
        expected.save().map_err(stop)?;
    }
    if options.check {
        let differences = expected.differences(&declared().map_err(stop)?);
        if !differences.is_empty() {
            return Err(Stop::new(
                exit::FAIL,
                format!(
                    "the test targets and the expected-tests manifest differ; if each difference \
                     is intended: vexfs-validate list --update\n  {}",
                    differences.join("\n  ")
                ),
            ));
        }
    }
    if options.update || options.check {
        let missing = expected.without_level();
        if !missing.is_empty() {
            return Err(Stop::new(
                exit::FAIL,
                format!(
                    "give each trial a level in fixtures/expected-tests.json, under \"levels\"\n  {}",
                    missing.join("\n  ")
                ),
            ));
        }
    }
    if options.check {
        outln!("the test targets declare what the expected-tests manifest has");
        return Ok(ExitCode::SUCCESS);
    }
    for (place, trials) in [(Place::Host, &expected.host), (Place::Guest, &expected.guest)] {
        outln!("{place}: {} trials", trials.len());
        for trial in trials {
            outln!("  {trial}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Limit for a build of all tests, on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);
/// Limit for a test program that lists what it declares.
const DECLARATIONS_LIMIT: Duration = Duration::from_secs(120);

/// Asks every criterion's test program for its declarations. The programs are built with the same
/// packages, and so the same features, as in `make build`, so that nothing is compiled twice.
fn declared() -> Result<Expected, Failure> {
    let tests = project::root().join("tests");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(project::root());
    cargo.args(["test", "--locked", "--no-run", "--message-format", "json"]);
    let built = output(&mut cargo, BUILD_LIMIT).context("cargo test --no-run")?;
    machine::require!(
        built.status.success(),
        "the criteria do not build:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let mut expected = Expected::default();
    for line in String::from_utf8_lossy(&built.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let of_a_criterion = message["target"]["src_path"]
            .as_str()
            .is_some_and(|path| Path::new(path).starts_with(&tests));
        let Some(program) = message["executable"].as_str().filter(|_| of_a_criterion) else {
            continue;
        };
        let said =
            output(Command::new(program).env(DECLARATIONS_VARIABLE, "1"), DECLARATIONS_LIMIT)?;
        let declarations: Vec<Declaration> = serde_json::from_slice(&said.stdout)
            .context(format!("the declarations of {program}"))?;
        for declaration in declarations {
            for place in declaration.places {
                expected.of_mut(place).push(declaration.name.clone());
            }
        }
    }
    expected.host.sort();
    expected.guest.sort();
    Ok(expected)
}
