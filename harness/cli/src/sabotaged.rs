//! `vexfs-validate sabotaged`: prints the saboteurs that were found.

use std::fs;
use std::path::Path;
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
        Stop::new(exit::EVIDENCE, format!("{failure}; look for saboteurs with: make sabotage"))
    })?;
    let table = markdown(&account.found);
    out!("{table}\n{account}\n");
    let mut left = "";
    if update {
        let path = project::root().join("docs/sabotage.md");
        write(&path, &account)
            .context(path.display())
            .map_err(|failure| Stop::new(exit::EVIDENCE, failure))?;
        left = "; docs/sabotage.md keeps their earlier rows";
    }
    if !account.missing.is_empty() {
        return Err(Stop::new(
            exit::INCONCLUSIVE,
            format!(
                "some saboteurs were not found, or not looked for{left}; look for them with: make \
                 sabotage, make sanitize"
            ),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the table into the page at `path`.
fn write(path: &Path, account: &Account) -> Result<(), Failure> {
    let page = fs::read_to_string(path)?;
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (old, behind) = rest.split_once(END)?;
        Some((before, old, behind))
    });
    let Some((before, old, behind)) = parts else {
        machine::fail!("the page has no lines {BEGIN} and {END}");
    };
    let table = updated(account, old);
    Ok(fs::write(path, format!("{before}{BEGIN}\n\n{table}\n{END}{behind}"))?)
}

/// The table of those that were found. The others keep their rows of the `old` table, which are
/// from earlier runs.
fn updated(account: &Account, old: &str) -> String {
    let row = |name: &str| old.lines().find(|line| line.starts_with(&format!("| {name} |")));
    let kept: Vec<&str> = account.missing.iter().filter_map(|name| row(name)).collect();
    let mut rest = account.clone();
    rest.missing.retain(|name| row(name).is_none());
    let others = match kept.len() {
        0 => String::new(),
        kept => format!(" {kept} others were found in earlier runs."),
    };
    let table = markdown(&account.found);
    let mut lines: Vec<&str> = table.lines().chain(kept).collect();
    // The heading takes two lines.
    lines[2..].sort_unstable();
    format!("{rest}.{others}\n\n{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use verdict::sabotage::Found;

    use super::*;

    fn found(name: &str) -> Found {
        Found {
            saboteur: name.to_owned(),
            twin_of: "engine".to_owned(),
            fault: "new".to_owned(),
            criterion: None,
            falls_with: Vec::new(),
            found_by: Vec::new(),
            message: String::new(),
            seconds: 1.0,
            commit: "0123".to_owned(),
        }
    }

    #[test]
    fn rows_of_those_not_looked_for_stay() {
        let old = "\n| saboteur |\n| --- |\n| hangs | old |\n| gone | old |\n| taints | old |\n";
        let account = |missing: &[&str]| Account {
            found: vec![found("hangs"), found("panics")],
            missing: missing.iter().map(|&name| name.to_owned()).collect(),
        };
        let table = updated(&account(&["leaks-once", "taints"]), old);
        let said = "2 of 3 saboteurs were found: 2 in commit 0123; not found: leaks-once. 1 others \
                    were found in earlier runs.";
        assert_eq!(table.lines().next(), Some(said));
        let rows: Vec<&str> = table.lines().skip(4).collect();
        assert!(rows[0].starts_with("| hangs | engine | new |"), "{}", rows[0]);
        assert!(rows[1].starts_with("| panics |"), "{}", rows[1]);
        assert_eq!(rows[2..], ["| taints | old |"]);
        let all = updated(&account(&[]), old);
        assert_eq!(all.lines().next(), Some("2 of 2 saboteurs were found: 2 in commit 0123."));
        assert!(!all.contains("old"));
    }
}
