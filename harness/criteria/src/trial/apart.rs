//! Runs a trial in a process of its own: whatever a file system does to it, the process that runs
//! all trials goes on, and writes how the trial ended.
//!
//! That process writes the trial's beginning and end, and holds the machine's lock. The trial's own
//! process has the watchdog, which needs the daemons, and writes what the trial observes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use homes::cause::{self, Found};
use homes::fuse::{Scratch, guardian};
use homes::trial_name;
use machine::failure::Failure;
use machine::{memory_limit, part, place};
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::declaration::Trial;
use super::runner::tried;
use super::watchdog;

/// The name of the part that runs a trial.
pub(crate) const PART: &str = "trial";

/// How long the process may take to end once its trial is out of time and the watchdog has killed
/// its daemons. Together with the usual limit it is less than nextest grants.
const FREED_LIMIT: Duration = Duration::from_secs(90);

/// The trial that the process must run.
#[derive(Serialize, Deserialize)]
struct TrialOrder {
    trial: String,
    /// Why other trials could not start a daemon.
    found: Found,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
struct TrialAnswer {
    failure: Option<Failure>,
    found: Found,
}

/// Runs `trial` in a process of its own.
///
/// # Errors
/// The trial's failure, or how its process ended.
pub(super) fn run(trial: &Trial, context: &Context) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let order = TrialOrder { trial: trial.name.clone(), found: cause::found() };
    let mut command = part::unlimited_command(PART, &order)?;
    command.env("TMPDIR", scratch.path());
    let limit = trial.limit.here(context).unwrap_or(watchdog::USUAL) + FREED_LIMIT;
    let answered: part::Answered<TrialAnswer> = part::ask(command, limit)?;
    if !answered.output.is_empty() {
        eprintln!("{}", answered.output);
    }
    cause::learn(answered.answer.found);
    answered.answer.failure.map_or(Ok(()), Err)
}

/// Runs the trial of the part's order, which is one of `trials`.
///
/// # Errors
/// If the order cannot be carried out. A failure of the trial itself is its answer.
pub(crate) fn play(trials: &[Trial], order: &str) -> Result<(), Failure> {
    // Before there are threads.
    guardian::start()?;
    memory_limit::limit()?;
    let order: TrialOrder = serde_json::from_str(order)?;
    let Some(trial) = trials.iter().find(|trial| trial.name == order.trial) else {
        machine::fail!("no trial is called {}", order.trial);
    };
    cause::learn(order.found);
    trial_name::set(Some(order.trial));
    let context = Context::new(&trial.name, place::here().place, place::evidence_writer()?);
    let outcome = catch_unwind(AssertUnwindSafe(|| tried(trial, &context)))
        .unwrap_or_else(|panic| Err(Failure::of_panic(&*panic)));
    part::answer(&TrialAnswer { failure: outcome.err(), found: cause::found() })
}
