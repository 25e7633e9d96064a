//! Puts foreign file systems in the reference's place, by `vexfs.toml`: criterion 1's trials of a
//! file system on each, and one table, the one in docs/own-vexfs.md. `make foreign` runs it.
//!
//! What a file system lacks is asked by the contract, and then the message says so, or by POSIX:
//! then the same operation passes on tmpfs. What tmpfs fails as well is asked by nobody, and is our
//! fault.
//!
//! - `foreign [NAME...]` tries the daemons whose names contain one of these, or all.
//! - `foreign --try DIR KERNEL EVIDENCE` tries the module of DIR's `vexfs.toml` in guests, which
//!   leave their evidence in EVIDENCE.
//! - `foreign [--module NAME DIR EVIDENCE]...` counts what those guests have left.
//!
//! With `VEXFS_VALIDATION_WRITE=1` the rows are written into the page, otherwise compared with the
//! page's.

mod ends;
mod file_systems;
mod ground;
mod modules;
mod sort;
mod table;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use criteria::trial::{OwnProcess, Trial};
use evidence::exit;
use evidence::place::Place;
use homes::filesystem::{Effort, all_operations, apart, stores};
use machine::child::Running;
use machine::failure::{Failure, WithContext};
use machine::{part, project, require};
use tempfile::TempDir;

use file_systems::{FOREIGN, Foreign, OWN};
use ground::Ground;
use sort::Sorted;
use table::FileSystemRow;

/// Variable that makes this program criterion 1's trials of a file system.
const CRITERION: &str = "VEXFS_VALIDATION_FOREIGN";
/// Variable that has the rows written into the page.
const WRITE: &str = "VEXFS_VALIDATION_WRITE";
/// How many seconds a trial may take. An interpreter is slow, but none needs this long.
const MOST_SECONDS: &str = "60";
/// The limit of what is done once, and of all trials of a file system together.
const LIMIT: Duration = Duration::from_secs(3600);

/// Criterion 1's trials of how a daemon is mounted and unmounted.
const OF_MOUNTING: [&str; 7] = [
    "fuse::mounts_as_fuse",
    "fuse::unmount_leaves_nothing",
    "fuse::signals_unmount",
    "fuse::fusermount_unmounts",
    "fuse::a_successor_keeps_its_mount",
    "fuse::searches_are_served_by_fuse",
    "fuse::bad_mount_points_are_refused",
];

fn main() -> ExitCode {
    if env::var_os(CRITERION).is_some() {
        return criteria::main(trials());
    }
    if let Some(done) = part::main(&[(apart::PART, apart::play), (stores::PART, stores::play)]) {
        return done;
    }
    let words: Vec<String> = env::args().skip(1).collect();
    let done = match words.as_slice() {
        [first, directory, kernel, evidence] if first == "--try" => {
            modules::try_in_guests(Path::new(directory), kernel, Path::new(evidence)).map(|()| true)
        }
        _ => rows(&words).and_then(|rows| finish(&rows)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => exit::FAIL.into(),
        Err(failure) => {
            eprintln!("error: {failure}");
            exit::SETUP.into()
        }
    }
}

/// The trials of the table of operations, without those of hundreds of thousands of requests, and
/// the trials of mounting.
fn trials() -> Vec<Trial> {
    let operations = all_operations().into_iter();
    let operations = operations.filter(|one| one.effort != Effort::ManyRequests);
    let names: BTreeSet<String> = operations.map(|one| format!("fuse::{}", one.name)).collect();
    let chosen =
        |trial: &Trial| names.contains(trial.name()) || OF_MOUNTING.contains(&trial.name());
    criteria::fuse::trials().into_iter().filter(chosen).collect()
}

/// The rows that `words` ask for.
fn rows(mut words: &[String]) -> Result<Vec<FileSystemRow>, Failure> {
    let mut modules = Vec::new();
    while let [first, name, directory, evidence, rest @ ..] = words
        && first == "--module"
    {
        modules.push(modules::row(name, Path::new(directory), Path::new(evidence))?);
        words = rest;
    }
    if words.is_empty() && !modules.is_empty() {
        return Ok(modules);
    }
    let mut rows = all(words)?;
    rows.append(&mut modules);
    Ok(rows)
}

/// Tries each daemon whose name is asked for.
fn all(asked: &[String]) -> Result<Vec<FileSystemRow>, Failure> {
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|part| name.contains(part));
    let ground = Ground::new()?;
    let mut rows = Vec::new();
    let mut add = |name: &str, package: &str, sorted: Result<Sorted, Failure>| match sorted {
        Ok(sorted) => {
            println!("{name}: {sorted}");
            rows.push(FileSystemRow::new(name, package, sorted));
        }
        Err(failure) => println!("{name} is left out: {failure}"),
    };
    for one in FOREIGN.iter().filter(|one| is_asked(one.name)) {
        let sorted = match one.lacks() {
            Some(file) => {
                Err(Failure::new(format!("there is no {file}; provide it with: make foreign")))
            }
            None => tried(one, &ground),
        };
        add(one.name, one.package, sorted);
    }
    for &(name, package, directory, program) in OWN.iter().filter(|(name, ..)| is_asked(name)) {
        let directory = project::root().join("fixtures/own").join(directory);
        add(name, package, tried_in(&directory, program, &ground));
    }
    require!(!rows.is_empty(), "no file system was tried");
    Ok(rows)
}

/// A directory on tmpfs, short and open to others.
fn room(ground: &Ground) -> Result<TempDir, Failure> {
    let room = tempfile::Builder::new().prefix("f").rand_bytes(6).tempdir_in(ground.path())?;
    fs::set_permissions(room.path(), Permissions::from_mode(0o755))?;
    Ok(room)
}

fn shell(script: &str, directory: &Path) -> Result<(), Failure> {
    let mut command = Command::new("sh");
    command.args(["-e", "-c", script]).current_dir(directory);
    Running::start(&mut command)?.finish(LIMIT)?.must_succeed("making it ready")
}

fn tried(foreign: &Foreign, ground: &Ground) -> Result<Sorted, Failure> {
    let room = room(ground)?;
    fs::write(room.path().join("vexfs.toml"), foreign.config())?;
    fs::write(room.path().join("start.sh"), foreign.script())?;
    shell(foreign.prepare, room.path())?;
    criterion(&room.path().join("vexfs.toml"), ground)
}

/// Tries the daemon whose `vexfs.toml` is in `directory`, after the shell command `make` there.
fn tried_in(directory: &Path, make: &str, ground: &Ground) -> Result<Sorted, Failure> {
    shell(make, directory)?;
    criterion(&directory.join("vexfs.toml"), ground)
}

/// Runs criterion 1's trials of a file system on what `config` names, and sorts them.
fn criterion(config: &Path, ground: &Ground) -> Result<Sorted, Failure> {
    let room = room(ground)?;
    let criterion = OwnProcess {
        mark: (CRITERION, "1"),
        config,
        room: room.path(),
        most_seconds: MOST_SECONDS,
        limit: LIMIT,
    };
    let ended = criterion.run()?;
    let due: Vec<String> = trials().iter().map(|trial| trial.name().to_owned()).collect();
    let ends = ends::read(&[criterion.evidence()], Place::Host);
    ends.and_then(|ends| sort::sorted(&ends, &due, &ground.path())).context(ended.tail())
}

/// Prints the rows, and compares them with the page or writes them into it. Returns whether all is
/// as it should be.
fn finish(rows: &[FileSystemRow]) -> Result<bool, Failure> {
    let report = project::built().join("foreign");
    fs::create_dir_all(&report)?;
    for row in rows {
        let name = row.name.replace(|one: char| !one.is_ascii_alphanumeric(), "-");
        fs::write(report.join(format!("{name}.txt")), row.sorted.lines())?;
    }
    println!("\n{}\nEach red line: {}", table::of(rows), report.display());
    let confirmed: usize = rows.iter().map(|row| row.sorted.by_posix.len()).sum();
    println!(
        "{confirmed} red lines by POSIX are confirmed: tmpfs passed each operation in this run"
    );
    let unfair: Vec<String> = rows
        .iter()
        .flat_map(|row| row.sorted.unfair.iter().map(|red| format!("{}: {red}", row.name)))
        .collect();
    for one in &unfair {
        println!("UNFAIR, because tmpfs fails it, too: {one}");
    }
    let mut fine = unfair.is_empty();
    for row in rows {
        for trial in &row.broken {
            println!("docs/own-vexfs.md says that {trial} passes; on {} it does not", row.name);
            fine = false;
        }
    }
    let page: PathBuf = project::root().join("docs/own-vexfs.md");
    // Modules and daemons are tried side by side, and both write into the page.
    let locked = File::open(&page).context(page.display())?;
    locked.lock().context(page.display())?;
    let text = fs::read_to_string(&page).context(page.display())?;
    if env::var_os(WRITE).is_some() {
        fs::write(&page, table::written(&text, rows)?)?;
        println!("written into {}", page.display());
        return Ok(fine);
    }
    let differences = table::differences(&text, rows)?;
    for one in &differences {
        println!("{}: {one}", page.display());
    }
    if !differences.is_empty() {
        println!(
            "If these file systems have changed, put the new rows into the page with: {WRITE}=1 make \
             foreign"
        );
    }
    Ok(fine && differences.is_empty())
}
