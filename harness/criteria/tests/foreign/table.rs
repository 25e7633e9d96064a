//! The table of docs/own-vexfs.md, between two comments.

use std::process::Command;

use machine::fail;
use machine::failure::Failure;

use crate::sort::Sorted;

const BEGIN: &str = "<!-- make foreign writes what follows -->\n";
const END: &str = "<!-- until here -->\n";
const HEAD: &str = "| file system | version | passed | lacking by the contract | lacking by POSIX | \
                    not tried |\n| --- | --- | --- | --- | --- | --- |\n";

/// A file system's line.
pub struct FileSystemRow {
    /// What the table calls it.
    pub name: String,
    /// The package's version, and the kernel that a module was tried on.
    pub version: String,
    /// What became of its trials.
    pub sorted: Sorted,
    /// The trials that docs/own-vexfs.md shows as passed, and that did not pass.
    pub broken: Vec<String>,
}

impl FileSystemRow {
    /// With the version of the Debian `package`.
    pub fn new(name: &str, package: &str, sorted: Sorted) -> FileSystemRow {
        let (name, version) = (name.to_owned(), version(package));
        FileSystemRow { name, version, sorted, broken: Vec::new() }
    }

    fn line(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            self.name,
            self.version,
            self.sorted.passed.len(),
            self.sorted.by_contract.len(),
            self.sorted.by_posix.len(),
            self.sorted.rest()
        )
    }
}

fn version(package: &str) -> String {
    let mut asked = Command::new("dpkg-query");
    match asked.args(["--show", "--showformat=${Version}", package]).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => "-".to_owned(),
    }
}

/// The table of these rows.
pub fn of(rows: &[FileSystemRow]) -> String {
    HEAD.to_owned() + &rows.iter().map(FileSystemRow::line).collect::<String>()
}

/// The page's text before the table, the table's lines, and the text behind it.
fn parts(page: &str) -> Result<(&str, Vec<&str>, &str), Failure> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (table, behind) = rest.split_once(END)?;
        Some((before, table.lines().skip(2).collect(), behind))
    });
    match parts {
        Some(parts) => Ok(parts),
        None => fail!("the page has no place for the table, between {BEGIN:?} and {END:?}"),
    }
}

fn name_in(line: &str) -> &str {
    line.trim_start_matches("| ").split(" | ").next().unwrap_or_default()
}

/// The page with these rows; the rows of other file systems stay.
pub fn written(page: &str, rows: &[FileSystemRow]) -> Result<String, Failure> {
    let (before, lines, behind) = parts(page)?;
    let mut left: Vec<&FileSystemRow> = rows.iter().collect();
    let mut table = HEAD.to_owned();
    for line in lines {
        match left.iter().position(|row| row.name == name_in(line)) {
            Some(at) => table += &left.remove(at).line(),
            None => table += &format!("{line}\n"),
        }
    }
    table.extend(left.iter().map(|row| row.line()));
    Ok(format!("{before}{BEGIN}{table}{END}{behind}"))
}

/// How these rows differ from the page's.
pub fn differences(page: &str, rows: &[FileSystemRow]) -> Result<Vec<String>, Failure> {
    let (_, lines, _) = parts(page)?;
    let mut differences = Vec::new();
    for row in rows {
        let line = row.line();
        let found = line.trim_end();
        match lines.iter().find(|line| name_in(line) == row.name) {
            Some(there) if *there == found => {}
            Some(there) => differences.push(format!("it says {there}\n  and found was {found}")),
            None => differences.push(format!("it has no line of {}: {found}", row.name)),
        }
    }
    Ok(differences)
}
