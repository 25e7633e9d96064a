//! `vexfs-validate sabotaged`: prints the saboteurs that were found.

use std::fs;
use std::process::ExitCode;

use criteria::sabotage::directory;
use evidence::exit;
use machine::failure::{Failure, WithContext};
use machine::project;
use verdict::sabotage::{Account, markdown};

use super::output::out;
use super::stop::Stop;

/// The table stands between these lines.
const BEGIN: &str = "<!-- vexfs-validate sabotaged --update: begin -->";
const END: &str = "<!-- vexfs-validate sabotaged --update: end -->";

pub(super) fn run(update: bool) -> Result<ExitCode, Stop> {
    let account = Account::read(&directory()).map_err(|failure| {
        Stop::new(exit::EVIDENCE, format!("{failure}; they are looked for with: make sabotage"))
    })?;
    let table = markdown(&account.found);
    out!("{table}\n{account}\n");
    if !account.missing.is_empty() {
        // The page is only updated when all were found.
        let left = if update { "; docs/sabotage.md is left as it is" } else { "" };
        return Err(Stop::new(
            exit::INCONCLUSIVE,
            format!(
                "some have escaped, or nobody has looked for them{left}; they are looked for with: \
                 make sabotage, make sanitize"
            ),
        ));
    }
    if update {
        let table = format!("{account}.\n\n{table}");
        write(&table).map_err(|failure| Stop::new(exit::EVIDENCE, failure))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(table: &str) -> Result<(), Failure> {
    let path = project::root().join("docs/sabotage.md");
    let page = fs::read_to_string(&path).context(path.display())?;
    let parts = page
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(_, behind)| (before, behind)));
    let Some((before, behind)) = parts else {
        machine::fail!("{} has no lines {BEGIN} and {END}", path.display());
    };
    fs::write(&path, format!("{before}{BEGIN}\n\n{table}\n{END}{behind}")).context(path.display())
}
