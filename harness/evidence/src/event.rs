//! The records of the evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::environment::Environment;
use crate::guest::{GuestEnded, GuestLaunch};
use crate::measurement::Measurement;
use crate::place::Place;
use crate::strict;

/// Version of the records that are written now. It goes up when a field's name or shape changes.
///
/// 1: until November 2026; a guest's launch said `instruction_clock` where it now says `clock`.
pub const SCHEMA_VERSION: u32 = 2;
/// The oldest version that can still be read. Fields that have changed since are translated when
/// they are read.
pub const OLDEST_READABLE: u32 = 1;

/// One line of evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Record {
    /// Version of the record's format.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub v: u32,
    /// Line number in its file, from 0.
    pub seq: u64,
    /// SHA-256 of the line before, in hex; the first line has the SHA-256 of the empty string.
    #[schemars(regex(pattern = strict::SHA256_HEX))]
    pub prev: String,
    /// Unix time in milliseconds, by the clock of the place.
    pub time_ms: u64,
    /// Where it was written.
    pub place: Place,
    /// The process that wrote it.
    pub pid: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The machine and the programs that all later records are about.
    Environment(Box<Environment>),
    /// The trials that must run in a place, according to the expected-tests manifest.
    Expected {
        /// Where they must run (`place` says where the record was written).
        at: Place,
        /// Trial names.
        trials: Vec<String>,
    },
    /// A phase of the run began.
    PhaseStarted {
        /// Its name.
        phase: String,
    },
    /// A phase of the run ended.
    PhaseFinished {
        /// Its name.
        phase: String,
        /// How it ended.
        state: PhaseState,
        /// Wall time.
        #[schemars(range(min = strict::NO_TIME))]
        #[serde(deserialize_with = "strict::seconds")]
        seconds: f64,
        /// Details for a person.
        note: String,
    },
    /// The result of the SIMD self-test: no number counts from a CPU that failed it.
    SelfTest {
        /// Whether SIMD and scalar code gave the same results.
        passed: bool,
        /// What was compared, and what differed.
        detail: String,
    },
    /// A trial that does not run here, and why.
    Skipped {
        /// Trial name.
        trial: String,
        /// The reason.
        reason: String,
    },
    /// A trial began. If no `trial_finished` follows, it died.
    TrialStarted {
        /// Trial name.
        trial: String,
    },
    /// A trial ended.
    TrialFinished {
        /// Trial name.
        trial: String,
        /// How it ended.
        state: TrialState,
        /// Why, if it did not pass.
        message: String,
        /// Wall time.
        #[schemars(range(min = strict::NO_TIME))]
        #[serde(deserialize_with = "strict::seconds")]
        seconds: f64,
    },
    /// Raw samples of two contenders.
    Measurement(Box<Measurement>),
    /// Anything else that a trial observed.
    Fact {
        /// Trial name.
        trial: String,
        /// What it is.
        name: String,
        /// The value.
        value: Value,
    },
    /// Kernel-log lines that appeared during a trial.
    KernelLog {
        /// Trial name.
        trial: String,
        /// `level seq seconds text` of each.
        lines: Vec<String>,
    },
    /// How a guest is about to be launched.
    GuestLaunched(Box<GuestLaunch>),
    /// How the guest ended, as the launcher saw it from outside.
    GuestEnded(GuestEnded),
}

/// How a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseState {
    /// It succeeded.
    Done,
    /// It failed.
    Failed,
    /// It was not started, because a phase that it depends on failed.
    NotRun,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// Everything it checked was right.
    Passed,
    /// Something was wrong, or the place that it belongs to lacks something that it requires.
    Failed,
    /// The data that would decide it was lost.
    Undecided,
    /// It was not tried, because an earlier trial found a fault that makes all of them fail.
    NotTried,
}
