//! What the records are about: machine, kernel, programs, data.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::place::Mark;
use crate::processor::Processor;
use crate::strict;

/// The program in [`Environment::programs`] that stands for the sources of somebody's own module.
/// The commit of this checkout says nothing of them.
pub const OWN_MODULE_SOURCES: &str = "vexfs.ko sources";

/// The environment in which a place's evidence was collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Why this is the host or the guest.
    pub place_reason: String,
    /// All marks by which host and guest are told apart.
    pub place_marks: Vec<Mark>,
    /// `uname -r`.
    pub kernel_release: String,
    /// Model name of /proc/cpuinfo.
    pub cpu: String,
    /// Processors online.
    pub cpus: usize,
    /// MemTotal of /proc/meminfo.
    pub memory_kib: u64,
    /// What executes the place's instructions.
    pub accelerator: Processor,
    /// Commit of the checkout, with `-dirty` if it has changes.
    pub commit: String,
    /// SHA-256 of the programs under test, by name; `missing` for a program that is not there.
    pub programs: BTreeMap<String, String>,
    /// Versions of the tools and libraries that were used, by name.
    pub versions: BTreeMap<String, String>,
    /// What the guest's time counts; missing on the host, which has only wall time.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::not_null"
    )]
    #[schemars(with = "Clock")]
    pub clock: Option<Clock>,
    /// The memory-error detectors that are enabled on the guest kernel's command line; empty when
    /// speed is measured, and on the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detectors: Vec<String>,
    /// Environment variables that change what is built or tested, and how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}
