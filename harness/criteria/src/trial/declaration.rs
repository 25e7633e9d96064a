//! A trial as a criterion declares it.

use std::sync::Arc;
use std::time::Duration;

use evidence::place::Place;
use machine::failure::Failure;

use super::context::Context;
use super::exclusion::Exclusion;
use super::watch::Limit;
use crate::requirement::Requirement;

type Work = dyn Fn(&Context) -> Result<(), Failure> + Send + Sync;
/// What a trial does, where it captures nothing.
pub type Body = fn(&Context) -> Result<(), Failure>;

/// A test of a criterion.
#[derive(Clone)]
pub struct Trial {
    pub(super) name: String,
    pub(super) places: Vec<Place>,
    pub(super) needs: Vec<Requirement>,
    pub(super) exclusion: Option<Exclusion>,
    pub(super) limit: Limit,
    pub(super) body: Arc<Work>,
}

impl Trial {
    /// A trial called `name`, which begins with its criterion (`fuse::`), that belongs to
    /// `places` and is done by `body`.
    pub fn new(
        name: impl Into<String>,
        places: &[Place],
        body: impl Fn(&Context) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        Trial {
            name: name.into(),
            places: places.to_vec(),
            needs: Vec::new(),
            exclusion: Some(Exclusion::Shared),
            limit: Limit::Usual,
            body: Arc::new(body),
        }
    }

    /// Adds what the trial needs. In a place of its own, a missing requirement fails it.
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

    /// Gives the trial the machine for itself: it measures, or loads the module.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.exclusion = Some(Exclusion::Alone);
        self
    }

    /// Leaves the machine, and the limits, to the trials that this one starts in processes of their
    /// own.
    #[must_use]
    pub fn starts_trials(mut self) -> Self {
        self.exclusion = None;
        self.limit = Limit::None;
        self
    }

    /// Ends the trial's FUSE daemons after `limit`, ten times as much on an emulated CPU, and not
    /// after half an hour, as any other trial's: whoever waits for an answer of theirs is freed by
    /// that, and the trial fails.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Limit::Of(limit);
        self
    }

    /// The trial's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
