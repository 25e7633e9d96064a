//! A trial as a criterion declares it.

use std::sync::Arc;
use std::time::Duration;

use evidence::place::Place;
use machine::failure::Failure;

use super::context::Context;
use super::watchdog::Limit;
use crate::requirement::Requirement;
use machine::file_lock::Sharing;

type TrialBody = dyn Fn(&Context) -> Result<(), Failure> + Send + Sync;
/// The body of a trial that captures nothing.
pub type Body = fn(&Context) -> Result<(), Failure>;

/// A test of a criterion.
#[derive(Clone)]
pub struct Trial {
    pub(super) name: String,
    pub(super) places: Vec<Place>,
    pub(super) needs: Vec<Requirement>,
    pub(super) machine_lock: Option<Sharing>,
    pub(super) limit: Limit,
    pub(super) apart: bool,
    pub(super) body: Arc<TrialBody>,
}

impl Trial {
    /// Declares the trial `name`, which begins with its criterion (`fuse::`), for `places`.
    pub fn new(
        name: impl Into<String>,
        places: &[Place],
        body: impl Fn(&Context) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        Trial {
            name: name.into(),
            places: places.to_vec(),
            needs: Vec::new(),
            machine_lock: Some(Sharing::Shared),
            limit: Limit::Usual,
            apart: false,
            body: Arc::new(body),
        }
    }

    /// Adds requirements. If one is missing in a place where the trial belongs, the trial fails.
    #[must_use]
    pub fn needs(mut self, needs: &[Requirement]) -> Self {
        self.needs.extend_from_slice(needs);
        self
    }

    /// Restricts the trial to `place`.
    #[must_use]
    pub fn only_in(mut self, place: Place) -> Self {
        self.places = vec![place];
        self
    }

    /// Runs the trial alone on the machine, because it measures or loads the module.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.machine_lock = Some(Sharing::Alone);
        self
    }

    /// For a trial that starts others in processes of their own: takes neither the machine's lock
    /// nor a time limit, since they have both.
    #[must_use]
    pub fn starts_trials(mut self) -> Self {
        self.machine_lock = None;
        self.limit = Limit::None;
        self
    }

    /// Sets the watchdog: after `limit` (28 min by default; ten times `limit` under TCG) it kills the
    /// trial's FUSE daemons, which unblocks their callers, and the trial fails.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Limit::Of(limit);
        self
    }

    /// Runs the trial in a process of its own, because it reads, maps or searches files of a file
    /// system that may kill whoever does so.
    #[must_use]
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// The trial's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
