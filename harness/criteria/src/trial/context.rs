//! The context that a trial's body gets: its name, its place, and the writer of its evidence.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use evidence::place::Place;
use evidence::{Event, Measurement, Writer};
use machine::failure::Failure;
use serde::Serialize;

/// The place in which a trial runs, and the evidence that it writes.
pub struct Context {
    trial: String,
    place: Place,
    evidence: Writer,
    time: OnceLock<(Instant, Duration)>,
}

impl Context {
    /// A context for the trial called `trial`.
    pub(super) fn new(trial: &str, place: Place, evidence: Writer) -> Self {
        Context { trial: trial.to_owned(), place, evidence, time: OnceLock::new() }
    }

    /// Starts the trial's time limit, if it has not been started before.
    pub(super) fn begins(&self, limit: Duration) {
        self.time.get_or_init(|| (Instant::now(), limit));
    }

    /// The trial's time limit, if it has one.
    pub fn limit(&self) -> Option<Duration> {
        self.time.get().map(|&(_, limit)| limit)
    }

    /// When the limit is over.
    pub fn ends(&self) -> Option<Instant> {
        self.time.get().map(|&(began, limit)| began + limit)
    }

    /// The trial's name.
    pub fn trial(&self) -> &str {
        &self.trial
    }

    /// Where the trial runs.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether the CPU, with its floating-point SIMD, is emulated here (TCG).
    pub fn emulated(&self) -> bool {
        machine::place::hypervisor_vendor().starts_with("TCG")
    }

    /// Writes a named value that the trial saw into the evidence.
    pub fn fact(&self, name: &str, value: impl Serialize) -> Result<(), Failure> {
        let value = serde_json::to_value(value)?;
        self.record(Event::Fact { trial: self.trial.clone(), name: name.to_owned(), value })
    }

    /// Writes raw samples into the evidence.
    pub fn measurement(&self, measurement: Measurement) -> Result<(), Failure> {
        self.record(Event::Measurement(Box::new(measurement)))
    }

    /// Writes lines that the kernel logged during this trial into the evidence.
    pub fn kernel_log(&self, lines: Vec<String>) -> Result<(), Failure> {
        self.record(Event::KernelLog { trial: self.trial.clone(), lines })
    }

    pub(super) fn record(&self, event: Event) -> Result<(), Failure> {
        Ok(self.evidence.write(event)?)
    }
}
