//! pjdfstest: about four hundred cases that check each system call against POSIX.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use machine::child::Running;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use serde::Serialize;
use vexfs_uapi::Home;

use super::program;
use crate::filesystem::asked::RENAME_CTIME;
use crate::filesystem::contract;
use crate::filesystem::times::granularity;
use crate::is_own;

/// The number of cases in pjdfstest 0.2.2 on Linux, the version that the set-up installs.
const CASES: usize = 398;
/// The cases of the slowest system call take 60 s on FUSE in an emulated guest.
const LIMIT: Duration = Duration::from_secs(300);

/// The modules of the cases. Each runs in a process of its own, and all run side by side.
const SYSTEM_CALLS: [&str; 15] = [
    "chmod",
    "chown",
    "ftruncate",
    "link",
    "mkdir",
    "mkfifo",
    "mknod",
    "open",
    "posix_fallocate",
    "rename",
    "rmdir",
    "symlink",
    "truncate",
    "unlink",
    "utimensat",
];

/// The cases that remount read-only. They run last and alone: other cases leak a descriptor that is
/// open for writing, which makes a remount fail with EBUSY, on tmpfs too.
const READ_ONLY: &str = "erofs";

/// The reasons for skipping a case if it is not run by root.
const NEEDS_ROOT: [&str; 2] = ["requires root privileges", "CAP_SYS_ADMIN"];

/// A case that does not pass, for a good reason.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Exclusion {
    /// Its name.
    pub case: &'static str,
    /// The home, or `None` for both.
    #[serde(serialize_with = "home_name")]
    pub home: Option<Home>,
    /// The reason, in one line.
    pub diagnosis: &'static str,
}

/// All exclusions. An excluded case that passes is an error, just like a case that fails, but only
/// on the reference: another file system may be able to do more.
const EXCLUSIONS: &[Exclusion] = &[Exclusion {
    case: "link::link_count_max",
    home: None,
    diagnosis: "skipped by itself, on tmpfs too: it asks pathconf(3) for LINK_MAX, which glibc \
                knows for no file system of this type, and there is no limit but nr_inodes",
}];

fn home_name<S: serde::Serializer>(home: &Option<Home>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(home.map_or("both", measure::home::name))
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CaseOutcome {
    Passed,
    /// Failed or skipped, with the message.
    Not(String),
}

/// A summary for the evidence.
#[derive(Debug, Serialize)]
pub struct PjdfstestSummary {
    passed: usize,
    excluded: Vec<Exclusion>,
    /// How many cases were skipped because they need root; they run in the guest.
    for_root: usize,
}

/// Runs all cases on the `mount` of `home`.
///
/// # Errors
/// A case that fails or is skipped but is not excluded, an excluded case that the reference passes,
/// or an unexpected number of cases.
pub fn run(mount: &Path, home: Home) -> Result<PjdfstestSummary, Failure> {
    let scratch = tempfile::tempdir()?;
    let tools = mount_without_helpers(scratch.path())?;
    let other = tempfile::tempdir()?;
    // Above a jiffy, by which the kernel's coarse clock stamps files, and above the steps in which
    // the file system keeps times. Whether it keeps them at all is for other trials to say.
    let steps = granularity(mount).ok().filter(|steps| *steps > 1e-3).unwrap_or_default();
    let configured = |remount: bool| {
        let file = scratch.path().join(format!("remount-{remount}.toml"));
        fs::write(&file, configuration(other.path(), remount, 0.02 + steps))?;
        Ok::<_, Failure>(file)
    };
    let start = |configuration: &Path, pattern: &str| {
        let mut command = program("pjdfstest")?;
        command.env("PATH", &tools).arg("-c").arg(configuration).arg("-p").arg(mount);
        Running::start(command.arg(pattern))
    };
    let mut outcomes = BTreeMap::new();
    let ordinary = configured(false)?;
    let all: Result<Vec<Running>, Failure> =
        SYSTEM_CALLS.iter().map(|call| start(&ordinary, &format!("tests::{call}::"))).collect();
    for one in all? {
        outcomes.extend(finish(one)?);
    }
    outcomes.extend(finish(start(&configured(true)?, READ_ONLY)?)?);
    judge(&outcomes, home, is_own(home)?, nix::unistd::geteuid().is_root())
}

/// The cases of a process. Its status tells only whether all of them passed; a process that dies
/// prints no summary.
fn finish(running: Running) -> Result<BTreeMap<String, CaseOutcome>, Failure> {
    let done = running.finish(LIMIT)?;
    require!(
        done.output.contains("Summary:"),
        "pjdfstest ended with {}: {}",
        done.status,
        done.output
    );
    Ok(parse(&done.output))
}

/// mount(8) would call a FUSE helper, which cannot remount; mount(2) can.
fn mount_without_helpers(scratch: &Path) -> Result<std::ffi::OsString, Failure> {
    let directory = scratch.join("bin");
    fs::create_dir(&directory)?;
    let Some(mount) = machine::programs::on_path("mount") else { fail!("there is no mount(8)") };
    let script = format!("#!/bin/sh\nexec {} --internal-only \"$@\"\n", mount.display());
    let path = directory.join("mount");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(directory).chain(std::env::split_paths(&path)))
        .context("PATH")
}

/// The configuration, with every feature that Linux has. Users and groups are Debian's own.
fn configuration(other_file_system: &Path, remount: bool, naptime: f64) -> String {
    format!(
        "[features]\n\
         posix_fallocate = {{}}\n\
         rename_ctime = {{}}\n\
         utime_now = {{}}\n\
         utimensat = {{}}\n\
         secondary_fs = {:?}\n\
         [settings]\n\
         naptime = {naptime}\n\
         allow_remount = {remount}\n\
         [dummy_auth]\n\
         entries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]\n",
        other_file_system.display().to_string()
    )
}

/// The cases in the output: a line for each, `name  ok`, and further details on lines that begin
/// with a tab.
fn parse(output: &str) -> BTreeMap<String, CaseOutcome> {
    let mut outcomes = BTreeMap::new();
    let mut lines = output.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, word)) = line.split_once(' ') else { continue };
        let word = word.trim_start();
        if !name.contains("::") || !["ok", "FAILED", "skipped"].contains(&word) {
            continue;
        }
        let mut detail = word.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            detail = format!("{detail}: {}", more.trim());
        }
        let outcome = if word == "ok" { CaseOutcome::Passed } else { CaseOutcome::Not(detail) };
        outcomes.insert(name.to_owned(), outcome);
    }
    outcomes
}

/// The cases that a rename moves the file's ctime, which POSIX leaves open.
const RENAME_MOVES_CTIME: &str = "rename::changed_ctime_success::";

fn judge(
    outcomes: &BTreeMap<String, CaseOutcome>,
    home: Home,
    own: bool,
    root: bool,
) -> Result<PjdfstestSummary, Failure> {
    let mut excluded: Vec<Exclusion> = EXCLUSIONS
        .iter()
        .filter(|exclusion| exclusion.home.is_none_or(|one| one == home))
        .copied()
        .collect();
    if own {
        excluded.retain(|exclusion| outcomes.get(exclusion.case) != Some(&CaseOutcome::Passed));
    }
    let is_excluded = |name: &str| excluded.iter().any(|exclusion| exclusion.case == name);
    let (mut wrong, mut asked) = (Vec::new(), Vec::new());
    let (mut passed, mut for_root) = (0, 0);
    for (name, outcome) in outcomes {
        match outcome {
            CaseOutcome::Passed if is_excluded(name) => {
                wrong.push(format!("{name} passes; take it off the exclusions"));
            }
            CaseOutcome::Passed => passed += 1,
            CaseOutcome::Not(_) if is_excluded(name) => {}
            CaseOutcome::Not(words)
                if !root && NEEDS_ROOT.iter().any(|why| words.contains(why)) =>
            {
                for_root += 1;
            }
            CaseOutcome::Not(words) if name.starts_with(RENAME_MOVES_CTIME) => {
                asked.push(format!("{name} {words}"));
            }
            CaseOutcome::Not(words) => wrong.push(format!("{name} {words}")),
        }
    }
    let told = |wrong: &[String]| {
        let count = wrong.len();
        Failure::new(format!("{count} cases have an unexpected outcome:\n{}", wrong.join("\n")))
    };
    if wrong.is_empty() && !asked.is_empty() {
        return Err(contract::asks(told(&asked), [RENAME_CTIME]));
    }
    wrong.append(&mut asked);
    if !wrong.is_empty() {
        return Err(told(&wrong));
    }
    require!(
        passed + for_root + excluded.len() == CASES,
        "{passed} cases passed, {for_root} need root and {} are excluded, expected {CASES} in all",
        excluded.len()
    );
    Ok(PjdfstestSummary { passed, excluded, for_root })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
chmod::erofs_named                                    skipped
\tRemounts (allow_remount) are not allowed in the configuration file
open::eexist::file                                    ok
truncate::update_ctime_success                        FAILED
\tTimestamps did not change as expected
Backtrace:
   0: std::backtrace_rs::backtrace

\x1bSummary: 1 failed, 1 skipped, 1 passed, 0 expected failures, 3 total
";

    fn outcomes(named: &[(&str, CaseOutcome)]) -> BTreeMap<String, CaseOutcome> {
        let mut all: BTreeMap<String, CaseOutcome> = (0..CASES - named.len())
            .map(|number| (format!("case::{number}"), CaseOutcome::Passed))
            .collect();
        all.extend(named.iter().map(|(name, outcome)| ((*name).to_owned(), outcome.clone())));
        all
    }

    #[test]
    fn cases_are_read_from_the_output() {
        let read = parse(OUTPUT);
        assert_eq!(read.len(), 3);
        assert_eq!(read["open::eexist::file"], CaseOutcome::Passed);
        assert_eq!(
            read["truncate::update_ctime_success"],
            CaseOutcome::Not("FAILED: Timestamps did not change as expected".to_owned())
        );
    }

    #[test]
    fn exclusions_must_be_needed() {
        let excluded = EXCLUSIONS[0].case;
        let skipped = CaseOutcome::Not("skipped: LINK_MAX".to_owned());
        let done = judge(&outcomes(&[(excluded, skipped)]), Home::Fuse, false, true).unwrap();
        assert_eq!(done.passed, CASES - EXCLUSIONS.len());
        let passes = outcomes(&[(excluded, CaseOutcome::Passed)]);
        let failure = judge(&passes, Home::Fuse, false, true).unwrap_err();
        assert!(failure.to_string().contains("take it off the exclusions"), "{failure}");
        let own = judge(&passes, Home::Fuse, true, true).unwrap();
        assert_eq!((own.passed, own.excluded.len()), (CASES, EXCLUSIONS.len() - 1));
    }

    #[test]
    fn cases_for_root_may_be_skipped_only_without_root() {
        let skipped = |why: &str| CaseOutcome::Not(format!("skipped: {why}"));
        let mount = "process doesn't have the CAP_SYS_ADMIN cap to mount the dummy file system";
        let of_root =
            [("chown::x", skipped("requires root privileges")), ("rmdir::ebusy", skipped(mount))];
        let excluded = (EXCLUSIONS[0].case, skipped("LINK_MAX"));
        let outcomes = outcomes(&[&of_root[..], &[excluded]].concat());
        assert_eq!(judge(&outcomes, Home::Fuse, false, false).unwrap().for_root, 2);
        let failure = judge(&outcomes, Home::Fuse, false, true).unwrap_err().to_string();
        assert!(failure.contains("rmdir::ebusy") && failure.contains("chown::x"), "{failure}");
    }

    #[test]
    fn failures_and_missing_cases_are_reported() {
        let failed = CaseOutcome::Not("FAILED: EPERM".to_owned());
        let failure = judge(&outcomes(&[("open::x", failed.clone())]), Home::Kernel, false, true)
            .unwrap_err();
        assert!(failure.to_string().contains("open::x FAILED: EPERM"), "{failure}");
        let unmoved = ("rename::changed_ctime_success::regular", failed.clone());
        let said = |cases: &[(&str, CaseOutcome)]| {
            judge(&outcomes(cases), Home::Kernel, true, true).unwrap_err().to_string()
        };
        assert!(said(std::slice::from_ref(&unmoved)).contains(contract::ASKS));
        assert!(!said(&[unmoved, ("open::x", failed)]).contains(contract::ASKS));
        let failure = judge(&BTreeMap::new(), Home::Kernel, false, true).unwrap_err();
        assert!(failure.to_string().contains("0 cases passed"), "{failure}");
    }
}
