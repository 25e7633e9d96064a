//! The five success criteria.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A success criterion; its trials' names begin with [`Criterion::id`] and `::`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// FUSE preservation.
    Fuse,
    /// FUSE against the competitors.
    Baseline,
    /// The competitors' data and protocol, exactly.
    Dataset,
    /// The module loads and unloads without a trace.
    Module,
    /// The kernel module against FUSE.
    KernelVsFuse,
}

impl Criterion {
    /// All of them, in the order in which the mission lists them.
    pub const ALL: [Criterion; 5] = [
        Criterion::Fuse,
        Criterion::Baseline,
        Criterion::Dataset,
        Criterion::Module,
        Criterion::KernelVsFuse,
    ];

    /// Its name in evidence, trials and test targets.
    pub fn id(self) -> &'static str {
        match self {
            Criterion::Fuse => "fuse",
            Criterion::Baseline => "baseline",
            Criterion::Dataset => "dataset",
            Criterion::Module => "module",
            Criterion::KernelVsFuse => "kernel_vs_fuse",
        }
    }

    /// What it demands, in words.
    pub fn title(self) -> &'static str {
        match self {
            Criterion::Fuse => "FUSE preservation",
            Criterion::Baseline => "Baseline: FUSE against ChromaDB",
            Criterion::Dataset => "Dataset and protocol equivalence",
            Criterion::Module => "Module stability",
            Criterion::KernelVsFuse => "Kernel against FUSE",
        }
    }

    /// The criterion of the trial called `name`.
    pub fn of_trial(name: &str) -> Option<Criterion> {
        name.split_once("::")?.0.parse().ok()
    }
}

impl FromStr for Criterion {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let found = Criterion::ALL.into_iter().find(|criterion| criterion.id() == id);
        found.ok_or_else(|| format!("{id:?} is no criterion"))
    }
}
