//! The steps of an upgrade that take a compiler and a guest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ::guest::{Kernel, KernelChoice};
use evidence::criterion::Criterion;
use evidence::exit;
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::{Event, EvidenceError};
use machine::child::Running;
use machine::interrupt::{Signals, interrupted};
use machine::{config, environment, place, project, under_test};
use verdict::FUNCTIONAL;

use super::Steps;
use super::trials::trials;
use crate::guest::build_own_vexfs;
use crate::options::GuestOptions;
use crate::phase::Progress;
use crate::run::in_the_guest;
use crate::run_dir;
use crate::stop::Stop;

/// Limit for one build of the module, with `core` and `alloc`, on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// Builds and validates with this checkout.
pub(super) struct Checkout {
    pub(super) machine: GuestOptions,
}

impl Steps for Checkout {
    fn build(&mut self, release: &str) -> Result<PathBuf, Stop> {
        if place::here().place == Place::Guest {
            return Err(Stop::new(exit::USAGE, "this is the guest; it cannot boot another one"));
        }
        if config::current().map_err(|failure| Stop::new(exit::SETUP, failure))?.module.is_some() {
            let kernel = Kernel::find(&KernelChoice::Version(release.to_owned()))
                .map_err(|error| Stop::new(error.exit(), error))?;
            build_own_vexfs(&kernel).map_err(|stop| {
                let code = if stop.exit == exit::SETUP { exit::REFUSED } else { stop.exit };
                Stop::new(code, stop.message)
            })?;
        } else {
            for variant in [None, Some("--fault-injection")] {
                build_reference(release, variant)?;
            }
        }
        under_test::kernel_module(release).map_err(|failure| Stop::new(exit::SETUP, failure))
    }

    fn validate(&mut self, _release: &str, dir: &Path) -> Result<(), Stop> {
        let trials = trials().map_err(|failure| Stop::new(exit::SETUP, failure))?;
        let evidence = run_dir::begin(dir)?;
        let begun = || -> Result<(), EvidenceError> {
            let environment = environment::of_this_machine(Processor::Native);
            evidence.write(Event::Environment(Box::new(environment)))?;
            evidence.write(Event::Expected { at: Place::Guest, trials: trials.expected.clone() })
        };
        begun().map_err(|error| Stop::new(exit::EVIDENCE, error))?;
        let (progress, only): (_, &[Criterion]) = (Progress::none(), &FUNCTIONAL);
        let lost = in_the_guest(&self.machine, dir, &evidence, &progress, only, &trials.filter)?;
        // The verdict decides about a guest that came up. Without one there is nothing to judge.
        match lost {
            Some(stop) if [exit::BOOT, exit::SETUP].contains(&stop.exit) => Err(stop),
            _ => Ok(()),
        }
    }
}

fn build_reference(release: &str, variant: Option<&str>) -> Result<(), Stop> {
    let signals = Signals::begin().map_err(|error| Stop::new(exit::SETUP, error))?;
    let mut build = Command::new(project::root().join("fixtures/vexfs/kernel/build.sh"));
    build.args(["--kernel", release]).args(variant);
    let built = Running::start(&mut build)
        .and_then(|build| build.until(interrupted).finish(BUILD_LIMIT)?.must_succeed("build.sh"));
    built.map_err(|failure| {
        let code = if signals.interrupted() { exit::INTERRUPTED } else { exit::REFUSED };
        Stop::new(code, failure)
    })
}
