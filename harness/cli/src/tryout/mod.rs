//! `vexfs-validate try` tries ten things in about ten seconds, before anyone runs hundreds of
//! trials.

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

/// How long a daemon may take to mount, to answer or to end. Trials wait longer, but here a person
/// is watching; the [advice](advice::not_started) says so.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn run() -> Result<ExitCode, Stop> {
    let setup = |failure: Failure| Stop::new(exit::SETUP, failure);
    let config = config::current().map_err(setup)?;
    let here = place::here().place;
    if !advice::is_module_alone(config) {
        Requirement::DevFuse.check().map_err(|missing| Stop::new(exit::SETUP, missing))?;
    }
    // If this process is killed, the guardian takes down its mounts.
    guardian::start().map_err(setup)?;
    let signals = Signals::begin().map_err(|error| Stop::new(exit::SETUP, error))?;
    wait_no_longer_than(PATIENCE * watch::slowness());

    outln!("{}", advice::what_is_tried(config));
    let mut whole = true;
    if advice::is_module_alone(config) {
        // The reference's daemon says nothing about the module, and the host does not load modules.
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

/// The failure's message without the trial's name at its beginning.
fn plain(failure: &Failure, thing: &FirstThing) -> Failure {
    let message = failure.to_string();
    let name = format!("{}: ", thing.operation.name);
    Failure::new(message.strip_prefix(&name).unwrap_or(&message))
}
