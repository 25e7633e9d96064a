//! `vexfs-validate in-guest`: runs phases 2 and 3, inside the guest.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use evidence::clock::Clock;
use evidence::exit;
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::{Event, EvidenceError, PhaseState, Writer};
use machine::child::output;
use machine::clock;
use machine::config;
use machine::environment;
use machine::failure::Failure;
use machine::place;
use machine::project;
use machine::selftest;

use super::nextest::{self, NextestEnd};
use super::output::outln;
use super::phase::{self, Progress};
use super::stop::Stop;

/// Runs the phases, with only those of their trials that `filter` selects.
pub(super) fn run(filter: &str) -> Result<ExitCode, Stop> {
    let here = place::here();
    let Some(dir) = here.evidence_dir.as_ref().filter(|_| here.place == Place::Guest) else {
        return Err(Stop::new(
            exit::USAGE,
            format!("this is the host ({}); start it with: vexfs-validate run", here.reason),
        ));
    };
    let no_evidence = |error: EvidenceError| Stop::new(exit::EVIDENCE, error);
    let evidence = place::evidence_writer().map_err(no_evidence)?;
    let environment = environment::of_this_machine(processor());
    let watched = !environment.detectors.is_empty();
    evidence.write(Event::Environment(Box::new(environment))).map_err(no_evidence)?;

    let clock = clock::here().map_err(|failure| Stop::new(exit::EVIDENCE, failure))?;
    // What the host understands may still name files that the guest does not see.
    if let Err(failure) = config::check() {
        let phases: &[&str] = match clock {
            Clock::Instructions => &[phase::INSTRUCTIONS],
            _ if watched => &[phase::MODULE],
            _ => &[phase::ENVIRONMENT, phase::VALIDATION],
        };
        for name in phases {
            phase::not_run(&evidence, name, &failure.to_string()).map_err(no_evidence)?;
        }
        return Err(Stop::new(exit::SETUP, failure));
    }
    if clock == Clock::Instructions {
        return alone(dir, &evidence, &INSTRUCTIONS, filter).map_err(no_evidence);
    }
    if watched {
        return alone(dir, &evidence, &MODULE, filter).map_err(no_evidence);
    }
    let second = phase::run(&evidence, &Progress::none(), phase::ENVIRONMENT, || {
        self_test(&evidence)?;
        let tests = nextest::run(dir, Place::Guest, "vm", "2", &both("binary(dataset)", filter))?;
        Ok(state_of(tests, "dataset and protocol"))
    })
    .map_err(no_evidence)?;
    if second != PhaseState::Done {
        let why = "the VM's environment is not proven";
        phase::not_run(&evidence, phase::VALIDATION, why).map_err(no_evidence)?;
        return Ok(exit::FAIL.into());
    }
    let third = phase::run(&evidence, &Progress::none(), phase::VALIDATION, || {
        let tests = nextest::run(
            dir,
            Place::Guest,
            "vm",
            "3",
            &both("not binary(/^(dataset|module)$/)", filter),
        )?;
        Ok(state_of(tests, "FUSE, baseline, kernel against FUSE"))
    })
    .map_err(no_evidence)?;
    Ok(if third == PhaseState::Done { exit::SUCCESS } else { exit::FAIL }.into())
}

/// A phase that gets a boot of its own.
struct Alone {
    phase: &'static str,
    /// The phase in the name of its JUnit file.
    number: &'static str,
    /// The phase's trials, as a nextest filterset.
    trials: &'static str,
    what: &'static str,
}

/// The ratios that are decided on guest instructions.
const INSTRUCTIONS: Alone = Alone {
    phase: phase::INSTRUCTIONS,
    number: "3-instructions",
    trials: "test(/^kernel_vs_fuse::(insertion|[a-z]+_search)$/)",
    what: "kernel against FUSE",
};

/// Trials that measure nothing, on a kernel that looks for misused memory.
const MODULE: Alone =
    Alone { phase: phase::MODULE, number: "3-module", trials: "binary(module)", what: "module" };

fn alone(
    dir: &Path,
    evidence: &Writer,
    one: &Alone,
    filter: &str,
) -> Result<ExitCode, EvidenceError> {
    let state = phase::run(evidence, &Progress::none(), one.phase, || {
        self_test(evidence)?;
        let trials = both(one.trials, filter);
        let tests = nextest::run(dir, Place::Guest, "vm", one.number, &trials)?;
        Ok(state_of(tests, one.what))
    })?;
    Ok(if state == PhaseState::Done { exit::SUCCESS } else { exit::FAIL }.into())
}

fn both(one: &str, other: &str) -> String {
    format!("({one}) and ({other})")
}

fn state_of(tests: NextestEnd, what: &str) -> (PhaseState, String) {
    match tests {
        NextestEnd::Passed => (PhaseState::Done, what.to_owned()),
        NextestEnd::Failed => (PhaseState::Failed, format!("{what}: tests failed")),
        NextestEnd::Interrupted => (PhaseState::Failed, format!("{what}: interrupted")),
    }
}

/// What executes this guest, according to its hypervisor.
pub(super) fn processor() -> Processor {
    let vendor = place::hypervisor_vendor();
    if vendor.starts_with("TCG") {
        Processor::Tcg
    } else if vendor.starts_with("KVM") {
        Processor::Kvm
    } else {
        Processor::Unknown
    }
}

/// Runs our own SIMD test, and checks numpy's sorts, on which the competitors' drivers rely.
fn self_test(evidence: &Writer) -> Result<(), Failure> {
    let ours = selftest::run();
    let numpy = numpy_sorts();
    let passed = ours.passed() && numpy.is_ok();
    let detail = match &numpy {
        Ok(text) | Err(text) => format!("AVX2 against scalar: {}; {text}", ours.summary()),
    };
    outln!("emulator self-test: {detail}");
    evidence.write(Event::SelfTest { passed, detail: detail.clone() })?;
    machine::require!(passed, "the guest's CPU computes wrongly: {detail}");
    Ok(())
}

/// Limit for them: an import of numpy takes many seconds on an emulated CPU.
const NUMPY_LIMIT: Duration = Duration::from_secs(600);
const NUMPY_SORTS: &str = "
import numpy as np
rng = np.random.RandomState(1)
wrong = 0
for n in range(1, 201):
    a = rng.rand(n * 5).astype(np.float32)
    order = a[np.argsort(a)]
    part = a[np.argpartition(a, n)][:n]
    wrong += not (np.all(order[1:] >= order[:-1]) and part.max() <= order[n])
print(f'numpy {np.__version__} argsort and argpartition: {wrong} of 200 wrong')
raise SystemExit(bool(wrong))
";

fn numpy_sorts() -> Result<String, String> {
    let mut python = Command::new(project::python());
    let tried = output(python.args(["-c", NUMPY_SORTS]), NUMPY_LIMIT).map_err(|failure| {
        format!("numpy could not be tried: {failure}; make setup provides it")
    })?;
    let said = String::from_utf8_lossy(&tried.stdout).trim().to_owned();
    if tried.status.success() {
        Ok(said)
    } else {
        Err(format!("{said} {}", String::from_utf8_lossy(&tried.stderr).trim()))
    }
}
