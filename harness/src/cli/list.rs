//! `vexfs-validate list`: the trials that each place must run.

use std::process::{Command, ExitCode};

use super::Stop;
use crate::exit;
use crate::expected::Expected;
use crate::failure::{Failure, While};
use crate::place::Place;
use crate::project;
use crate::trial::{DECLARATIONS_VARIABLE, Declaration};

pub(super) fn run(update: bool) -> Result<ExitCode, Stop> {
    let stop = |failure: Failure| Stop::new(exit::SETUP, failure);
    if update {
        declared().and_then(|expected| expected.save()).map_err(stop)?;
    }
    let expected = Expected::load().map_err(stop)?;
    for (place, trials) in [(Place::Host, &expected.host), (Place::Guest, &expected.guest)] {
        println!("{place}: {} trials", trials.len());
        for trial in trials {
            println!("  {trial}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks every criterion's test program what it declares.
fn declared() -> Result<Expected, Failure> {
    let output = Command::new("cargo")
        .current_dir(project::root())
        .args(["test", "--no-run", "--message-format", "json", "-p", "vexfs-validation"])
        .output()
        .when("cargo test --no-run")?;
    crate::require!(
        output.status.success(),
        "the criteria do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut expected = Expected::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let Some(program) = message["executable"].as_str() else { continue };
        let said = Command::new(program)
            .env(DECLARATIONS_VARIABLE, "1")
            .output()
            .when(format!("starting {program}"))?;
        let declarations: Vec<Declaration> =
            serde_json::from_slice(&said.stdout).when(format!("the declarations of {program}"))?;
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
