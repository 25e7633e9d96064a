//! Kernel modules: their trials in guests, and what the guests have left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use evidence::exit;
use evidence::place::Place;
use homes::filesystem::all_operations;
use machine::failure::{Failure, WithContext};
use machine::{project, require};

use crate::ends::{self, End};
use crate::ground::Ground;
use crate::sort::{self, Sorted};
use crate::table::FileSystemRow;

/// Criterion 4's trials of how a module is loaded, mounted and unloaded.
const OF_LOADING: [&str; 8] = [
    "is_built_for_the_running_kernel",
    "loads_and_is_listed",
    "mounts_and_is_used",
    "refuses_to_unload_while_mounted",
    "refuses_to_load_twice",
    "refuses_unknown_mount_options",
    "refuses_mounts_of_user_namespaces",
    "survives_300_cycles",
];

/// What the first guest tries, as a nextest filter: all but the trials that take minutes each.
const FIRST: &str =
    "binary(module) and not test(/^module::(adversary|pjdfstest|fsx|fio|stress|fuzzed)/)";
/// A module whose every trial ends its guest is given up after as many.
const MOST_GUESTS: usize = 5;
/// What nextest ends with when a trial is red.
const RED: i32 = 100;
/// How many trials behind the one that ended a guest are put last in the next. Neighbours in the
/// alphabet often try similar things (`mapped_`, `mappings_`), and would end the guest as well.
const NEIGHBOURS: usize = 16;
/// Run in the guest, with nextest filters as arguments, one after the other. An oops ends the guest
/// at once: the module that oopsed could not be unloaded, and whoever holds its locks would be
/// waited for in vain.
const IN_GUEST: &str = "echo 1 >/proc/sys/kernel/panic_on_oops || exit; code=0; \
                        for filter; do cargo nextest run --profile foreign --no-fail-fast \
                        -E \"$filter\" || code=$?; done; exit $code";

/// The trials that the table counts of a module.
fn due() -> Vec<String> {
    let operations = all_operations();
    let names = operations.iter().map(|one| one.name).chain(OF_LOADING);
    names.map(|name| format!("module::{name}")).collect()
}

/// Tries the module of the `vexfs.toml` in `directory` in guests of `kernel`, which leave their
/// evidence in `evidence`, numbered. A trial that takes the kernel with it ends its guest, and one
/// that leaves the module loaded keeps the rest from being tried: another guest tries the rest.
pub fn try_in_guests(directory: &Path, kernel: &str, evidence: &Path) -> Result<(), Failure> {
    if evidence.exists() {
        fs::remove_dir_all(evidence).context(evidence.display())?;
    }
    fs::create_dir_all(evidence).context(evidence.display())?;
    let mut filters = vec![FIRST.to_owned()];
    let mut left = due().len();
    for number in 1..=MOST_GUESTS {
        try_in_guest(directory, kernel, &evidence.join(number.to_string()), &filters)?;
        let ends = ends::read(&guests(evidence)?, Place::Guest)?;
        let mut untried: Vec<String> = due()
            .into_iter()
            .filter(|name| ends.get(name).is_none_or(End::may_be_tried_again))
            .collect();
        untried.sort();
        if untried.is_empty() || untried.len() == left {
            break;
        }
        left = untried.len();
        println!("{left} trials are left to try");
        let (near, far) = untried.split_at(left.min(NEIGHBOURS));
        filters = [far, near].iter().filter(|names| !names.is_empty()).map(only).collect();
    }
    Ok(())
}

/// The nextest filter for these trials.
fn only(names: &&[String]) -> String {
    let tests: Vec<String> = names.iter().map(|name| format!("test(={name})")).collect();
    format!("binary(module) and ({})", tests.join(" or "))
}

fn try_in_guest(
    directory: &Path,
    kernel: &str,
    evidence: &Path,
    filters: &[String],
) -> Result<(), Failure> {
    let mut guest = Command::new(project::built().join("debug/vexfs-validate"));
    guest.args(["guest", "--kernel", kernel, "--evidence"]).arg(evidence).arg("--");
    guest.args(["sh", "-c", IN_GUEST, "sh"]).args(filters);
    guest.env("VEXFS_CONFIG", directory.join("vexfs.toml")).stdin(Stdio::null());
    let status = guest.status().context("vexfs-validate guest; build it with: make build")?;
    let died = exit::PANIC.code..=exit::DIED.code;
    match status.code() {
        Some(0 | RED) => Ok(()),
        Some(code) if u8::try_from(code).is_ok_and(|code| died.contains(&code)) => {
            println!("the guest did not live to the end of its trials");
            Ok(())
        }
        _ => machine::fail!("vexfs-validate guest: {status}"),
    }
}

/// The evidence of each guest, in their order.
fn guests(evidence: &Path) -> Result<Vec<PathBuf>, Failure> {
    let numbered = (1..=MOST_GUESTS).map(|number| evidence.join(number.to_string()));
    let there: Vec<PathBuf> = numbered.take_while(|directory| directory.is_dir()).collect();
    require!(!there.is_empty(), "{} has no guest's evidence", evidence.display());
    Ok(there)
}

/// The row of the module in `directory`, whose guests have left `evidence`.
pub fn row(name: &str, directory: &Path, evidence: &Path) -> Result<FileSystemRow, Failure> {
    let ground = Ground::new()?;
    let ends = ends::read(&guests(evidence)?, Place::Guest)?;
    let sorted = sort::sorted(&ends, &due(), &ground.path())?;
    println!("{name}: {sorted}");
    // fixtures/foreign/modules.sh leaves the version of a package's module.
    let version = fs::read_to_string(directory.join("version")).unwrap_or_else(|_| "-".to_owned());
    let broken = broken_promises(&sorted)?;
    Ok(FileSystemRow { name: name.to_owned(), version: version.trim().to_owned(), sorted, broken })
}

/// The trials that docs/own-vexfs.md shows as passed and that did not pass.
fn broken_promises(sorted: &Sorted) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(project::root().join("docs/own-vexfs.md"))?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("PASS module::"));
    let shown: Vec<String> = lines.map(|name| format!("module::{name}")).collect();
    require!(!shown.is_empty(), "docs/own-vexfs.md shows no trial of a module as passed");
    Ok(shown.into_iter().filter(|trial| !sorted.passed.contains(trial)).collect())
}
