//! `vexfs-validate try`: ten things in about ten seconds, before anyone runs hundreds of trials.

pub(super) mod advice;
mod fuse;
mod module;
mod tally;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use criteria::requirement::Requirement;
use evidence::exit;
use evidence::place::Place;
use homes::filesystem::FirstThing;
use homes::fuse::{guardian, wait_no_longer_than};
use machine::failure::Failure;
use machine::interrupt::Signals;
use machine::{config, place};

use super::output::outln;
use super::stop::Stop;
use tally::Tally;

/// How long a daemon may take to mount, to answer or to end. Trials wait longer; a person looks on, and
/// is [told](advice::not_started).
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn run() -> Result<ExitCode, Stop> {
    let setup = |failure: Failure| Stop::new(exit::SETUP, failure);
    let config = config::current().map_err(setup)?;
    let here = place::here().place;
    if !advice::is_module_alone(config) {
        Requirement::DevFuse.check().map_err(|missing| Stop::new(exit::SETUP, missing))?;
    }
    // Where this process is killed, somebody has to take down what it has mounted.
    guardian::start().map_err(setup)?;
    let signals = Signals::begin().map_err(|error| Stop::new(exit::SETUP, error))?;
    wait_no_longer_than(PATIENCE * watch::slowness());

    outln!("{}", advice::what_is_tried(config));
    let mut whole = true;
    if advice::is_module_alone(config) {
        // The reference's daemon says nothing of it; on the host the module is not tried.
        whole = here == Place::Guest;
    } else {
        let mut tally = Tally::new("FUSE daemon", advice::all_of_daemon(config));
        fuse::try_it(&mut tally, &signals)?;
        tally.conclude();
        whole &= tally.all_work();
    }
    match here {
        Place::Guest => {
            let mut tally = Tally::new("kernel module", advice::all_of_module());
            module::try_it(&mut tally, &signals)?;
            tally.conclude();
            whole &= tally.all_work();
        }
        Place::Host => whole &= module::look_at_file(config),
    }
    Ok(if whole { exit::SUCCESS } else { exit::FAIL }.into())
}

/// What a thing's failure says, without its trial's name before it.
fn plain(failure: &Failure, thing: &FirstThing) -> Failure {
    let message = failure.to_string();
    let name = format!("{}: ", thing.operation.name);
    Failure::new(message.strip_prefix(&name).unwrap_or(&message))
}
