//! `vexfs-validate soak`: loads and unloads the module for hours, or runs a criterion many times.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ::guest::{GuestOutcome, GuestWork};
use clap::Args;
use criteria::soak::endure;
use criteria::trial;
use evidence::criterion::Criterion;
use evidence::exit;
use evidence::facts::{REPETITION, Repeated, SOAK_TRIAL, Tests};
use evidence::guest::GuestEnd;
use evidence::place::Place;
use evidence::processor::{Processor, name_of};
use evidence::thresholds::ENDURANCE;
use evidence::{Event, EvidenceError, PhaseState, Writer};
use machine::environment;
use machine::failure::Failure;
use machine::file_lock::Sharing;
use machine::place;
use machine::project;
use verdict::soak::{Repetitions, Soak};

use super::nextest;
use super::options::GuestOptions;
use super::output::outln;
use super::phase::Progress;
use super::stop::Stop;
use super::{guest, phase, run_dir};
use crate::expected::Expected;

/// Time besides the cycles: the boot, and a last cycle that began just before the end.
const BESIDE: Duration = Duration::from_secs(1800);

/// Options of `soak`.
#[derive(Debug, Clone, Args)]
#[command(after_help = examples())]
#[group(id = "what", args = ["time", "times"], required = true, multiple = false)]
pub struct SoakOptions {
    /// Load and unload the module under load for this time, in the guest: 2h, 90m, 120s
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Run a criterion N times, and print its rate of false alarms
    #[arg(value_name = "N", requires = "only", value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
    /// The criterion that is run N times
    #[arg(long, value_name = "CRITERION", requires = "times", value_parser = super::options::criterion())]
    only: Option<Criterion>,
    /// Run it in the guest; module and kernel_vs_fuse always are
    #[arg(long, requires = "times")]
    guest: bool,
    #[command(flatten)]
    machine: GuestOptions,
    /// Directory for the soak [default: a fresh one under target/soak]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
}

fn examples() -> String {
    format!(
        "\
For bare metal a soak must hold for {} h and {} cycles on each of the kernels {}, with \
the module of the run that it is to count for:

  vexfs-validate soak --for 2h --kernel 6.12
  vexfs-validate verdict target/validation/latest --soak target/soak/latest

A directory under soak/ of a run's directory counts for that run without being named. A cycle loads \
the module, mounts it, writes, searches, checks that it cannot be unloaded meanwhile, unmounts, unloads, \
and checks the kernel's log, taint, memory and leftovers. fio, stress-ng and mounts by another process \
run beside it in turn.

A criterion must not fail on a healthy system. To see how often it does:

  vexfs-validate soak 20 --only fuse

In the guest, --time-limit then applies to each repetition.

Ctrl-C ends the guest; what was finished stays in the directory, and does not count.",
        ENDURANCE.seconds / 3600,
        ENDURANCE.cycles,
        ENDURANCE.kernels.join(", ")
    )
}

pub(super) fn run(options: &SoakOptions) -> Result<ExitCode, Stop> {
    if place::here().place == Place::Guest {
        return Err(Stop::new(exit::USAGE, "this is the guest; run it on the host"));
    }
    guest::must_understand_configuration()?;
    let dir = match &options.evidence {
        Some(dir) => run_dir::given(dir)?,
        None => run_dir::create(&project::root().join("target/soak"))?,
    };
    let evidence = run_dir::begin(&dir)?;
    outln!("evidence: {}", dir.display());
    let environment = environment::of_this_machine(Processor::Native);
    evidence.write(Event::Environment(Box::new(environment))).map_err(no_evidence)?;
    match (options.time, options.times, options.only) {
        (Some(time), ..) => for_time(options, time, &dir, &evidence),
        (None, Some(times), Some(only)) => {
            let in_guest = matches!(only, Criterion::Module | Criterion::KernelVsFuse);
            let in_guest = options.guest || in_guest;
            expect(&evidence, only, if in_guest { Place::Guest } else { Place::Host })?;
            if in_guest {
                let mut machine = options.machine.clone();
                machine.time_limit = limit_of_all(machine.time_limit, times);
                let words = ["--times".to_owned(), times.to_string(), "--only".to_owned()];
                let words = words.into_iter().chain([only.id().to_owned()]);
                let outcome = boot(&machine, words, &dir, &evidence)?;
                tell_alarms(&dir, only, times, Place::Guest, Some(&outcome))
            } else {
                repeat(&dir, &evidence, Place::Host, only, times)?;
                tell_alarms(&dir, only, times, Place::Host, None)
            }
        }
        _ => Err(Stop::new(exit::USAGE, "say --for TIME, or N --only CRITERION")),
    }
}

/// Records the trials that each repetition must run.
fn expect(evidence: &Writer, only: Criterion, at: Place) -> Result<(), Stop> {
    let manifest = Expected::load().map_err(|failure| Stop::new(exit::SETUP, failure))?;
    let of_criterion = |trial: &&String| Criterion::of_trial(trial) == Some(only);
    let trials = manifest.of(at).iter().filter(of_criterion).cloned().collect();
    evidence.write(Event::Expected { at, trials }).map_err(no_evidence)
}

/// Time limit in seconds for a guest that runs `times` repetitions with a limit of `limit` each.
fn limit_of_all(limit: u64, times: u32) -> u64 {
    limit.saturating_mul(times.into())
}

fn no_evidence(error: EvidenceError) -> Stop {
    Stop::new(exit::EVIDENCE, error)
}

/// Boots a guest that runs `in-guest-soak` with these arguments, and records how it ended.
fn boot(
    machine: &GuestOptions,
    words: impl IntoIterator<Item = String>,
    dir: &Path,
    evidence: &Writer,
) -> Result<GuestOutcome, Stop> {
    let program = std::env::current_exe().map_err(|error| Stop::new(exit::SETUP, error))?;
    let command = [program.display().to_string(), "in-guest-soak".to_owned()];
    let work = GuestWork::Command(command.into_iter().chain(words).collect());
    let outcome = guest::boot(machine, guest::Kind::default(), dir, work, &Progress::none())?;
    evidence.write(Event::GuestEnded(outcome.ended())).map_err(no_evidence)?;
    if !matches!(outcome.end, GuestEnd::Exited(_)) {
        guest::last_words(&outcome);
    }
    Ok(outcome)
}

fn for_time(
    options: &SoakOptions,
    time: Duration,
    dir: &Path,
    evidence: &Writer,
) -> Result<ExitCode, Stop> {
    let expected = Event::Expected { at: Place::Guest, trials: vec![SOAK_TRIAL.to_owned()] };
    evidence.write(expected).map_err(no_evidence)?;
    let mut machine = options.machine.clone();
    machine.time_limit = machine.time_limit.max((time + BESIDE).as_secs());
    let words = ["--seconds".to_owned(), time.as_secs().to_string()];
    let outcome = boot(&machine, words, dir, evidence)?;
    let soak = Soak::read(dir).map_err(|error| Stop::new(exit::EVIDENCE, error))?;
    outln!("\n{}, {}", soak.summary(), name_of(soak.accelerator));
    for fault in &soak.faults {
        outln!("  FAULT: {fault}");
    }
    match &soak.shortfall(&ENDURANCE)[..] {
        [] => outln!("it counts for bare metal, of a run of the same module"),
        short => outln!("it does not count for bare metal: {}", short.join("; ")),
    }
    Ok(match outcome.end {
        GuestEnd::Exited(0) if !soak.faults.is_empty() => exit::FAIL.into(),
        _ => outcome.exit_code().into(),
    })
}

/// Runs the criterion `only` `times` times in this place, and records each repetition.
fn repeat(
    dir: &Path,
    evidence: &Writer,
    place: Place,
    only: Criterion,
    times: u32,
) -> Result<(), Stop> {
    let profile = if place == Place::Host { "ci" } else { "vm" };
    for number in 1..=times {
        let name = format!("{} {number} of {times}", only.id());
        let mut interrupted = false;
        let mut ended = (Tests::NotRun, String::new());
        phase::run(evidence, &Progress::none(), &name, || {
            let filter = format!("binary({})", only.id());
            let ran = nextest::run(dir, place, profile, &format!("soak-{number}"), &filter)
                .inspect_err(|failure| ended.1 = failure.to_string())?;
            interrupted = ran == nextest::NextestEnd::Interrupted;
            Ok(match ran {
                nextest::NextestEnd::Passed => {
                    ended.0 = Tests::Passed;
                    (PhaseState::Done, String::new())
                }
                nextest::NextestEnd::Failed => {
                    ended.0 = Tests::Failed;
                    (PhaseState::Failed, "tests failed".to_owned())
                }
                nextest::NextestEnd::Interrupted => (PhaseState::Failed, "interrupted".to_owned()),
            })
        })
        .map_err(no_evidence)?;
        if interrupted {
            let message = format!("interrupted; what was finished: {}", dir.display());
            return Err(Stop::new(exit::INTERRUPTED, message));
        }
        let (tests, note) = ended;
        let ended = Repeated { criterion: only, number, of: times, tests, note };
        evidence
            .write(Event::Fact {
                trial: "soak".to_owned(),
                name: REPETITION.to_owned(),
                value: serde_json::to_value(ended)
                    .map_err(|error| Stop::new(exit::EVIDENCE, error))?,
            })
            .map_err(no_evidence)?;
    }
    Ok(())
}

fn tell_alarms(
    dir: &Path,
    only: Criterion,
    times: u32,
    place: Place,
    outcome: Option<&GuestOutcome>,
) -> Result<ExitCode, Stop> {
    let repetitions =
        Repetitions::read(dir, place).map_err(|error| Stop::new(exit::EVIDENCE, error))?;
    for one in repetitions.all.iter().filter(|one| !one.failed.is_empty()) {
        outln!("repetition {} failed: {}", one.number, one.failed.join(", "));
    }
    for fault in &repetitions.faults {
        outln!("  FAULT: {fault}");
    }
    let (done, alarms) = (repetitions.all.len(), repetitions.alarms());
    outln!(
        "\n{}, {place}: {alarms} alarms in {done} of {times} repetitions: if the system is healthy, \
         a rate of false alarms below {:.1} % at 95 %",
        only.title(),
        repetitions.alarm_rate_below() * 100.0
    );
    if let Some(outcome) = outcome
        && !matches!(outcome.end, GuestEnd::Exited(_))
    {
        return Ok(outcome.exit_code().into());
    }
    Ok(if alarms > 0 {
        exit::FAIL
    } else if done < times as usize || !repetitions.faults.is_empty() {
        exit::INCONCLUSIVE
    } else {
        exit::SUCCESS
    }
    .into())
}

/// What `soak` starts inside the guest.
#[derive(Debug, Clone, Args)]
pub struct InGuest {
    #[arg(long)]
    seconds: Option<u64>,
    #[arg(long, requires = "only")]
    times: Option<u32>,
    #[arg(long, value_parser = super::options::criterion())]
    only: Option<Criterion>,
}

/// `vexfs-validate in-guest-soak`.
pub(super) fn in_guest(options: &InGuest) -> Result<ExitCode, Stop> {
    let here = place::here();
    let Some(dir) = here.evidence_dir.as_ref().filter(|_| here.place == Place::Guest) else {
        return Err(Stop::new(
            exit::USAGE,
            format!("this is the host ({}); start it with: vexfs-validate soak", here.reason),
        ));
    };
    let evidence = place::evidence_writer().map_err(no_evidence)?;
    let environment = environment::of_this_machine(super::in_guest::processor());
    evidence.write(Event::Environment(Box::new(environment))).map_err(no_evidence)?;
    if let (Some(times), Some(only)) = (options.times, options.only) {
        repeat(dir, &evidence, Place::Guest, only, times)?;
        return Ok(ExitCode::SUCCESS);
    }
    let time = Duration::from_secs(options.seconds.unwrap_or_default());
    let work = || -> Result<(), Failure> {
        let _machine = trial::take_machine(Sharing::Alone)?;
        trial::run_recorded(SOAK_TRIAL, Place::Guest, |context| endure(context, time))
    };
    work().map_err(|failure| Stop::new(exit::FAIL, failure))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repetition_has_a_limit_of_its_own() {
        assert_eq!(limit_of_all(10_800, 1), 10_800);
        assert_eq!(limit_of_all(10_800, 20), 216_000);
        assert_eq!(limit_of_all(u64::MAX, 2), u64::MAX);
    }
}
