//! Trials under libtest-mimic: `cargo test`, `cargo nextest`, `--list`, `--exact`, `--ignored`.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use evidence::exit;
use evidence::place::Place;
use evidence::{Event, TrialState};
use homes::filesystem::contract;
use homes::fuse::guardian;
use homes::kernel::KernelLog;
use homes::trial_name;
use libtest_mimic::{Arguments, Completion, Failed};
use machine::config;
use machine::failure::Failure;
use machine::place;
use machine::project;
use machine::temporary;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::declaration::Trial;
use super::policy::{TrialDecision, decide};
use super::{apart, machine_lock, watchdog};

/// The `main` of a criterion: runs or lists `trials` as the command line asks.
#[must_use]
pub fn main(trials: Vec<Trial>) -> ExitCode {
    if std::env::var_os(DECLARATIONS_VARIABLE).is_some() {
        return declare(&trials);
    }
    let arguments = Arguments::from_args();
    if let Err(failure) = project::is_where_it_was_built().and_then(|()| temporary::prepare()) {
        eprintln!("error: {failure}");
        return exit::SETUP.into();
    }
    if let Some(name) = doubled(&trials) {
        eprintln!("error: two trials are called {name}; a name stands for one trial");
        return exit::USAGE.into();
    }
    if arguments.exact
        && let Some(filter) = &arguments.filter
        && !trials.iter().any(|trial| trial.name() == filter)
    {
        // libtest would run nothing and succeed, and a trial that vanished must not look like
        // success.
        eprintln!("error: no trial is called {filter}; --list shows all");
        return exit::USAGE.into();
    }
    // If the configuration is refused, each trial would fail for that.
    if !arguments.list
        && let Err(failure) = config::check().and_then(|()| guardian::start())
    {
        eprintln!("error: {failure}");
        return exit::SETUP.into();
    }
    let here = place::here().place;
    let tests = trials
        .into_iter()
        // nextest runs every trial in a process of its own, so only check that trial's
        // requirements.
        .filter(|trial| !arguments.exact || arguments.filter.as_deref() == Some(trial.name()))
        .map(|trial| prepare(trial, here, &arguments))
        .collect();
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// Environment variable that makes a criterion print its declarations as JSON and run nothing. The
/// manifest of expected tests is made from them.
pub const DECLARATIONS_VARIABLE: &str = "VEXFS_VALIDATION_DECLARATIONS";

/// A trial's declaration without its body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Declaration {
    /// Its name.
    pub name: String,
    /// The places that it belongs to.
    pub places: Vec<Place>,
}

fn declare(trials: &[Trial]) -> ExitCode {
    let declarations: Vec<Declaration> = trials
        .iter()
        .map(|trial| Declaration { name: trial.name.clone(), places: trial.places.clone() })
        .collect();
    match serde_json::to_string(&declarations) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: the declarations cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn doubled(trials: &[Trial]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    trials.iter().map(Trial::name).find(|name| !seen.insert(*name))
}

/// Turns a trial into one of libtest-mimic. nextest counts a skip at run time as a pass, so under
/// nextest, and wherever ignored tests are asked for, a skipped trial gets the list-time `ignored`
/// flag. Under plain `cargo test` it is skipped at run time, which shows the reason.
fn prepare(trial: Trial, here: Place, arguments: &Arguments) -> libtest_mimic::Trial {
    let decision = decide(&trial.name, here, &trial.places, || {
        trial.needs.iter().filter_map(|need| need.check().err()).collect()
    });
    let by_flag = std::env::var_os("NEXTEST").is_some()
        || arguments.list
        || arguments.ignored
        || arguments.include_ignored;
    let name = trial.name.clone();
    match decision {
        TrialDecision::Skip(reason) => {
            // nextest lists twice: all trials, and then the ignored ones. The second listing
            // records the reason.
            let noted = if arguments.list && !arguments.ignored {
                Ok(())
            } else {
                note_skip(&name, here, &reason)
            };
            if by_flag {
                // If it is run by name after all, it must not pass, since it cannot run here.
                let body = move || Err(Failed::from(format!("not run: {reason}")));
                libtest_mimic::Trial::test(name, body).with_ignored_flag(noted.is_ok())
            } else {
                let body = move || noted.map(|()| Completion::ignored_with(reason));
                libtest_mimic::Trial::ignorable_test(name, body)
            }
        }
        TrialDecision::Fail(reason) => libtest_mimic::Trial::test(name, move || {
            run_recorded(&trial.name, here, |_| Err(Failure::new(reason))).map_err(to_failed)
        }),
        TrialDecision::Run => libtest_mimic::Trial::test(name, move || {
            run_recorded(&trial.name, here, |context| {
                let _machine = trial.machine_lock.map(machine_lock::take).transpose()?;
                if trial.apart { apart::run(&trial, context) } else { tried(&trial, context) }
            })
            .map_err(to_failed)
        }),
    }
}

/// Runs the trial's body within its limit.
pub(super) fn tried(trial: &Trial, context: &Context) -> Result<(), Failure> {
    watchdog::within(trial.limit, context, || (trial.body)(context))
}

fn note_skip(trial: &str, place: Place, reason: &str) -> Result<(), Failed> {
    let event = Event::Skipped { trial: trial.to_owned(), reason: reason.to_owned() };
    let written = place::evidence_writer().and_then(|writer| writer.write(event));
    written.map_err(|error| Failed::from(format!("skip in the {place} not recorded: {error}")))
}

/// Runs a body, and records its start and its end. This is pessimistic: a trial that has a start
/// and no end in the evidence has died.
pub fn run_recorded(
    trial: &str,
    place: Place,
    body: impl FnOnce(&Context) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let evidence = place::evidence_writer()?;
    let context = Context::new(trial, place, evidence);
    context.record(Event::TrialStarted { trial: trial.to_owned() })?;
    let started = Instant::now();
    trial_name::set(Some(trial.to_owned()));
    // A panic is a failure of this trial. The guards of its mounts and children have run by then.
    let marked = || {
        if place == Place::Guest {
            // The mark shows a reader where the trial's lines begin on the console.
            KernelLog::mark(trial)?;
        }
        body(&context)
    };
    let result = catch_unwind(AssertUnwindSafe(marked))
        .unwrap_or_else(|panic| Err(Failure::of_panic(&*panic)))
        .map_err(contract::explained);
    trial_name::set(None);
    let (state, message) = match &result {
        Ok(()) => (TrialState::Passed, String::new()),
        Err(failure) if failure.is_undecided() => (TrialState::Undecided, failure.to_string()),
        Err(failure) if failure.is_not_tried() => (TrialState::NotTried, failure.to_string()),
        Err(failure) => (TrialState::Failed, failure.to_string()),
    };
    let seconds = started.elapsed().as_secs_f64();
    context.record(Event::TrialFinished { trial: trial.to_owned(), state, message, seconds })?;
    result
}

fn to_failed(failure: Failure) -> Failed {
    Failed::from(failure.to_string())
}
