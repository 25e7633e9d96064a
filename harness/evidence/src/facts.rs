//! Names and types of the facts that trials record and the verdict reads.

use libm::log;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baselines::Figure;
use crate::criterion::Criterion;
use crate::protocol::PROTOCOL;
use crate::stats::Ratio;

/// The fact that compares an insertion with a recorded figure of the same operation, dimension and
/// size.
pub const COMPARED: &str = "compared with a recorded figure";
/// The fact that lists the figures that cannot be compared, each with the reason.
pub const NOT_COMPARABLE: &str = "recorded figures that are not comparable";

/// The fact that says where the figures come from.
pub const PROVENANCE: &str = "provenance of the recorded figures";

/// Why the times of batches give no ratio.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadBatches(String);

/// An insertion beside a recorded figure of the same operation, dimension and size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Compared {
    /// What was recorded.
    pub figure: Figure,
    /// Copy of the rule's threshold.
    pub threshold: f64,
    /// Whether the criterion depends on this comparison.
    pub decides: bool,
    /// Nanoseconds of each of our batches without warm-ups. Everything else is computed from them.
    pub batch_ns: Vec<u64>,
}

impl Compared {
    /// Our rate over the recorded one, with one round for each batch.
    ///
    /// # Errors
    /// If the number of batches is not the protocol's, or a batch took no time.
    pub fn ratio(&self) -> Result<Ratio, BadBatches> {
        let (batches, runs) = (self.batch_ns.len(), PROTOCOL.runs);
        if batches != runs {
            return Err(BadBatches(format!(
                "{batches} batches, where the protocol asks for {runs}"
            )));
        }
        let rows = self.figure.rows as f64 / PROTOCOL.rounds() as f64;
        let log_ratio = |&time: &u64| log(rows / (time as f64 / 1e9) / self.figure.value);
        let logs: Vec<f64> = self.batch_ns.iter().map(log_ratio).collect();
        Ratio::of_rounds(&logs).ok_or_else(|| BadBatches("a batch has an impossible time".into()))
    }
}

/// The fact of one load/unload cycle, recorded at once: if the guest dies, the earlier ones are
/// safe.
pub const LOAD_CYCLE: &str = "load cycle";
/// The fact of all cycles, recorded only if all were done.
pub const LOAD_CYCLES: &str = "cycles";

/// All load/unload cycles of a trial; each list has one number per cycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LoadCycles {
    /// How many there were.
    pub done: usize,
    /// The module was also mounted and used in one of every this many cycles.
    pub used_every: u32,
    /// How it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// The wall time of each.
    pub microseconds: Vec<u64>,
    /// What the kernel held after each: unreclaimable slab, stacks, page tables, vmalloc.
    pub kernel_memory_kib: Vec<i64>,
    /// Allocations that the module still held when it was unloaded, and those that were leaked.
    pub live_allocations: Vec<u64>,
    /// Upper bound of a cycle's failure rate.
    pub failure_rate_below: f64,
    /// The confidence of that bound.
    pub confidence: f64,
}

/// How a mount was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Used {
    /// Rows were written, indexed and searched.
    AsVexfs,
    /// Rows were written and read back. The module is not the reference, and does not answer the
    /// contract's requests.
    AsFileSystem,
}

/// What is measured after each load/unload cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LoadCycle {
    /// Its number, from 0.
    pub number: u32,
    /// Wall time.
    pub microseconds: u64,
    /// Memory that the kernel held after it: unreclaimable slab, stacks, page tables, vmalloc.
    pub kernel_memory_kib: i64,
    /// Allocations that the module still held when it was unloaded, and those that were leaked.
    pub live_allocations: u64,
}

/// The fact that counts the allocations that the module still held after it was used and unmounted.
/// A module that is not the reference may not count them.
pub const LIVE_AFTER_USE: &str = "live allocations after use";

/// The trial that the cycles of a soak are recorded for.
pub const SOAK_TRIAL: &str = "soak::load_and_unload_under_load";
/// The fact of one cycle of a soak.
pub const SOAK_CYCLE: &str = "soak cycle";
/// The fact that identifies the module, a [`ModuleIdentity`].
pub const MODULE: &str = "module";
/// The fact of one repetition of a criterion.
pub const REPETITION: &str = "repetition";

/// What a module's `.modinfo` says about its build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ModuleIdentity {
    /// The kernel that it was built for, and its options.
    pub vermagic: String,
    /// Checksum of its C sources.
    pub srcversion: String,
}

/// What a cycle of a soak did, and what was checked after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SoakCycle {
    /// Its number, from 0.
    pub number: u32,
    /// Wall time.
    pub microseconds: u64,
    /// The other loads in it: `fio`, `stress-ng`, `mounts of others`.
    pub loads: Vec<String>,
    /// Searches answered.
    pub searches: u64,
    /// Rows written.
    pub writes: u64,
    /// Attempts to unload that were refused, as they must be while the module is busy.
    pub refused: u32,
    /// Memory that the kernel held after it.
    pub kernel_memory_kib: i64,
    /// Allocations that the module still held when it was unloaded, and those that were leaked.
    pub live_allocations: u64,
    /// Lines that the kernel logged during the cycle, without the harness's own marker.
    pub log_lines: usize,
}

/// The fact that ends a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Repeated {
    /// What was repeated.
    pub criterion: Criterion,
    /// Which repetition, from 1.
    pub number: u32,
    /// How many repetitions there are.
    pub of: u32,
    /// What nextest reported. The trials alone are not enough: a test that dies before its first
    /// record or after its last, or leaves a process behind, shows in no trial.
    pub tests: Tests,
    /// Details for a person.
    #[serde(default)]
    pub note: String,
}

/// The result of a nextest run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tests {
    /// All passed.
    Passed,
    /// Some failed.
    Failed,
    /// nextest itself failed, so some tests were not run.
    NotRun,
}
