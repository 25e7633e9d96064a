//! `vexfs-validate run`: host lane, VM, verdict.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::guest::{ClockChoice, GuestOutcome, GuestWork};
use clap::Args;
use criteria::sabotage;
use evidence::criterion::Criterion;
use evidence::exit;
use evidence::files;
use evidence::guest::{Accelerator, GuestEnd};
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::{Event, EvidenceError, PhaseState, Writer};
use machine::environment;
use machine::failure::{Failure, WithContext};
use machine::place;
use machine::project;
use verdict::Evidence;
use verdict::report::Run;
use verdict::soak::Soak;

use super::guest::{self, Kind};
use super::nextest::{self, NextestEnd};
use super::options::GuestOptions;
use super::output::{out, outln};
use super::phase::{self, Progress};
use super::stop::Stop;
use super::{report as report_command, run_dir, verdict as verdict_command};
use crate::expected::Expected;

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// Run only this criterion, or these; the others are not run, and the exit code is for these
    #[arg(long, value_name = "CRITERION", value_parser = super::options::criterion())]
    only: Vec<Criterion>,
    #[command(flatten)]
    machine: GuestOptions,
    /// Directory for the run [default: a fresh one under target/validation]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Directories of soaks of this module, copied into the run's soak/: they count for bare metal
    #[arg(long, value_name = "DIR", num_args = 1..)]
    soak: Vec<PathBuf>,
}

pub(super) fn run(options: &RunOptions) -> Result<ExitCode, Stop> {
    if place::here().place == Place::Guest {
        return Err(Stop::new(exit::USAGE, "this is the guest; run it on the host"));
    }
    guest::must_understand_configuration()?;
    let expected = Expected::load().map_err(|failure| Stop::new(exit::SETUP, failure))?;
    guest::must_have_kvm_if_demanded(&options.machine)?;
    let dir = directory(options)?;
    let no_evidence = |error: EvidenceError| Stop::new(exit::EVIDENCE, error);
    let evidence = run_dir::begin(&dir)?;
    outln!("evidence: {}", dir.display());
    begin(&evidence, &expected).map_err(no_evidence)?;
    adopt(&options.soak, &dir.join(files::SOAKS))?;

    let progress = progress(options);
    if let Some(outlook) = progress.outlook() {
        outln!("{outlook}");
    }
    match phases(options, &dir, &evidence, &progress) {
        Ok(complete) => {
            let code = conclude(&dir, &evidence, &progress, &options.only)?;
            if complete {
                progress.keep();
            }
            Ok(code)
        }
        Err(End::Evidence(error)) => Err(no_evidence(error)),
        // Write a verdict and a report of what was finished.
        Err(End::Stop(stop)) => {
            if let Err(other) = conclude(&dir, &evidence, &progress, &options.only) {
                eprintln!("vexfs-validate: {}", other.message);
            }
            Err(stop)
        }
    }
}

/// The forecast is taken from runs with the same options.
fn progress(options: &RunOptions) -> Progress {
    let GuestOptions { kernel, accelerator, memory, cpus, .. } = &options.machine;
    let only: Vec<&str> = options.only.iter().map(|one| one.id()).collect();
    Progress::of(&format!("kernel {kernel}, {accelerator:?}, {memory:?}, {cpus:?}, {only:?}"))
}

/// A nextest filterset for the trials of the criteria in `only`; all trials if it is empty.
fn trials_of(only: &[Criterion]) -> String {
    let binaries: Vec<String> = only.iter().map(|one| format!("binary({})", one.id())).collect();
    if binaries.is_empty() { "all()".to_owned() } else { binaries.join(" or ") }
}

/// An error that ends a run before its verdict.
pub(super) enum End {
    Evidence(EvidenceError),
    Stop(Stop),
}

impl From<EvidenceError> for End {
    fn from(error: EvidenceError) -> Self {
        End::Evidence(error)
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        match end {
            End::Evidence(error) => Stop::new(exit::EVIDENCE, error),
            End::Stop(stop) => stop,
        }
    }
}

fn directory(options: &RunOptions) -> Result<PathBuf, Stop> {
    let Some(dir) = &options.evidence else {
        return run_dir::create(&project::validation_runs());
    };
    run_dir::given(dir)
}

pub(super) fn begin(evidence: &Writer, expected: &Expected) -> Result<(), EvidenceError> {
    evidence
        .write(Event::Environment(Box::new(environment::of_this_machine(Processor::Native))))?;
    for at in Place::ALL {
        evidence.write(Event::Expected { at, trials: expected.of(at).to_vec() })?;
    }
    Ok(())
}

/// Copies the files of each soak into a directory of the same name in `into`.
fn adopt(soaks: &[PathBuf], into: &Path) -> Result<(), Stop> {
    let copy = |from: &Path| -> Result<(), Failure> {
        let soak = Soak::read(from)?;
        let to = into.join(&soak.name);
        fs::create_dir_all(into)?;
        copy_files(from, &to)
    };
    soaks.iter().try_for_each(|soak| {
        let what = format!("{} cannot be taken as a soak", soak.display());
        copy(soak).context(what).map_err(|failure| Stop::new(exit::EVIDENCE, failure))
    })
}

/// Copies the results of separate lanes (sabotage, sanitizers) into the run's directory, for its
/// report.
fn adopt_lanes(dir: &Path) -> Result<(), Stop> {
    for (lane, name) in [
        (sabotage::directory(), files::SABOTAGE),
        (project::root().join("target/guest/sanitize"), files::SANITIZED),
    ] {
        if lane.is_dir() {
            copy_files(&lane, &dir.join(name)).map_err(|error| {
                let message = format!(
                    "{} cannot be copied for the report: {error}; the verdict is written, and \
                     the report is made by: vexfs-validate report {}",
                    lane.display(),
                    dir.display()
                );
                Stop::new(exit::EVIDENCE, message)
            })?;
        }
    }
    Ok(())
}

/// Copies the files of `from` into `to`, a new directory.
fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir(to).context(to.display())?;
    for entry in fs::read_dir(from).context(from.display())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).context(entry.path().display())?;
        }
    }
    Ok(())
}

/// Runs phases 1 to 3. A guest that dies or a phase that fails still leads to the verdict; only
/// Ctrl-C and evidence that cannot be written do not. Returns whether the guest phases ran and all
/// guests lived to their end.
fn phases(
    options: &RunOptions,
    dir: &Path,
    evidence: &Writer,
    progress: &Progress,
) -> Result<bool, End> {
    let mut interrupted = false;
    let filter = trials_of(&options.only);
    let first = phase::run(evidence, progress, phase::HOST, || {
        let tests = nextest::run(dir, Place::Host, "ci", "1", &filter)?;
        interrupted = tests == NextestEnd::Interrupted;
        Ok(match tests {
            NextestEnd::Passed => (PhaseState::Done, String::new()),
            NextestEnd::Failed => (PhaseState::Failed, "tests failed".to_owned()),
            NextestEnd::Interrupted => (PhaseState::Failed, "interrupted".to_owned()),
        })
    })?;
    if interrupted {
        for name in [phase::ENVIRONMENT, phase::VALIDATION, phase::MODULE] {
            phase::not_run(evidence, name, "interrupted")?;
        }
        let message = format!("interrupted; what was finished: {}", dir.display());
        return Err(End::Stop(Stop::new(exit::INTERRUPTED, message)));
    }
    let asked = options.only.is_empty() || options.only.contains(&Criterion::Fuse);
    if first != PhaseState::Done && asked && !fuse_is_preserved(dir) {
        for name in [phase::ENVIRONMENT, phase::VALIDATION, phase::MODULE] {
            phase::not_run(evidence, name, "FUSE is not preserved on the host")?;
        }
        return Ok(false);
    }
    // The verdict decides what the guest's end means for the criteria.
    let lost = in_the_guest(&options.machine, dir, evidence, progress, &options.only, &filter)?;
    Ok(lost.is_none())
}

/// Runs phases 2 and 3 in guests: the trials that `filter` selects, which belong to the criteria in
/// `only` (all criteria if it is empty). Returns what ended a guest early, if anything did.
pub(super) fn in_the_guest(
    machine: &GuestOptions,
    dir: &Path,
    evidence: &Writer,
    progress: &Progress,
    only: &[Criterion],
    filter: &str,
) -> Result<Option<Stop>, End> {
    let program = std::env::current_exe()
        .map_err(|error| End::Stop(Stop::new(exit::SETUP, error)))?
        .display()
        .to_string();
    outln!("\n== phases 2 and 3 in the guest");
    let words = [program, "in-guest".to_owned(), "--filter".to_owned(), filter.to_owned()];
    let work = GuestWork::Command(words.to_vec());
    let boot = |machine: &GuestOptions, kind| boot(machine, kind, dir, evidence, progress, &work);
    let outcome = match boot(machine, Kind::default())? {
        Ok(outcome) => outcome,
        Err(stop) => {
            phase::not_run(evidence, phase::ENVIRONMENT, &stop.message)?;
            for name in [phase::VALIDATION, phase::MODULE] {
                phase::not_run(evidence, name, "there is no guest")?;
            }
            return Ok(Some(stop));
        }
    };
    let mut lost = lost(&outcome);
    if only.is_empty() || only.contains(&Criterion::Module) {
        outln!("\n== phase 3, the module, on a kernel that looks for misused memory");
        let kind = Kind { detectors: true, ..Kind::default() };
        match boot(machine, kind)? {
            Ok(watched) => lost = lost.or_else(|| self::lost(&watched)),
            Err(stop) => {
                phase::not_run(evidence, phase::MODULE, &stop.message)?;
                lost = lost.or(Some(stop));
            }
        }
    }
    // Without KVM, guest instructions decide on the kernel against FUSE, in a boot of their own.
    let compared = only.is_empty() || only.contains(&Criterion::KernelVsFuse);
    if outcome.launch.accelerator != Accelerator::Tcg || !compared {
        return Ok(lost);
    }
    if lost.is_some() {
        phase::not_run(evidence, phase::INSTRUCTIONS, "a guest did not end well")?;
        return Ok(lost);
    }
    outln!("\n== phase 3 once more, on guest instructions");
    let machine = GuestOptions { cpus: None, ..machine.clone() };
    let kind = Kind { clock: ClockChoice::Instructions, ..Kind::default() };
    match boot(&machine, kind)? {
        Ok(outcome) => Ok(self::lost(&outcome)),
        Err(stop) => {
            phase::not_run(evidence, phase::INSTRUCTIONS, &stop.message)?;
            Ok(Some(stop))
        }
    }
}

/// How a guest ended that did not live to its command's end.
fn lost(outcome: &GuestOutcome) -> Option<Stop> {
    outcome.end.lost().map(|exit| Stop::new(exit, &outcome.end))
}

/// Boots a guest for `work` and records how it ended. The inner error says why no guest came up.
fn boot(
    machine: &GuestOptions,
    kind: Kind,
    dir: &Path,
    evidence: &Writer,
    progress: &Progress,
    work: &GuestWork,
) -> Result<Result<GuestOutcome, Stop>, End> {
    match guest::boot(machine, kind, dir, work.clone(), progress) {
        Ok(outcome) => {
            evidence.write(Event::GuestEnded(outcome.ended()))?;
            if !matches!(outcome.end, GuestEnd::Exited(_)) {
                guest::last_words(&outcome);
            }
            if outcome.interrupted {
                return Err(End::Stop(Stop::new(exit::INTERRUPTED, GuestEnd::Interrupted)));
            }
            Ok(Ok(outcome))
        }
        Err(stop) if stop.exit == exit::INTERRUPTED => Err(End::Stop(stop)),
        Err(stop) => {
            outln!("no guest: {}", stop.message);
            Ok(Err(stop))
        }
    }
}

/// Whether FUSE is preserved on the host. A failed baseline does not keep the VM from running. A
/// FUSE that no longer works does, because everything after it is measured against FUSE.
fn fuse_is_preserved(dir: &Path) -> bool {
    Evidence::read(dir).is_ok_and(|evidence| verdict::fuse_is_preserved(&evidence))
}

/// Runs phase 4: writes the verdict and the report, and prints the table.
fn conclude(
    dir: &Path,
    evidence: &Writer,
    progress: &Progress,
    only: &[Criterion],
) -> Result<ExitCode, Stop> {
    let mut read = Err(Stop::new(exit::EVIDENCE, "the evidence was not read"));
    phase::run(evidence, progress, phase::VERDICT, || {
        read = verdict_command::read(dir, &[]);
        match &read {
            Ok(_) => Ok((PhaseState::Done, String::new())),
            Err(stop) => Err(Failure::new(stop.message.clone())),
        }
    })
    .map_err(|error| Stop::new(exit::EVIDENCE, error))?;
    let mut read = read?;
    // Read the rest of the evidence: it now also has the end of phase 4.
    read.catch_up(dir).map_err(|error| Stop::new(exit::EVIDENCE, error))?;
    let verdict = verdict::of(&read);
    fs::write(dir.join(files::VERDICT_FILE), verdict_command::to_json(&verdict)?).map_err(
        |error| {
            // Leave no half-written verdict.
            let _ = fs::remove_file(dir.join(files::VERDICT_FILE));
            let message = format!(
                "verdict.json: {error}; free some space, or name another directory with \
                 --evidence; what was finished is in {}",
                dir.display()
            );
            Stop::new(exit::EVIDENCE, message)
        },
    )?;
    out!("\n{}", verdict::table(&verdict));
    adopt_lanes(dir)?;
    outln!("\nall of it: {}", dir.display());
    let asked = |one: &&verdict::CriterionVerdict| only.is_empty() || only.contains(&one.id);
    let state = verdict.criteria.iter().filter(asked).map(|one| one.state).max();
    let code = verdict::exit_of(state.unwrap_or(verdict.state));
    let page = report_command::write_run(Run::of(dir, read, verdict), dir, dir)?;
    outln!("report: {}", page.display());
    Ok(code.into())
}
