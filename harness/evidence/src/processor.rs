//! What executes the instructions of a place.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::guest::Accelerator;

/// What executes the instructions of a place.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Processor {
    /// The machine's own CPU, without a guest of ours.
    Native,
    /// The machine's own CPU, in a guest on KVM.
    Kvm,
    /// QEMU's translator.
    Tcg,
    /// A guest whose hypervisor says neither KVM nor TCG. None of ours does, so the published
    /// schema refuses it.
    #[schemars(skip)]
    Unknown,
}

impl Processor {
    /// Whether QEMU computes each instruction, so that speed says little about real machines.
    pub fn is_emulated(self) -> bool {
        self == Processor::Tcg
    }

    /// The accelerator with which the launcher would boot this kind of guest again.
    pub fn accelerator(self) -> Option<Accelerator> {
        match self {
            Processor::Kvm => Some(Accelerator::Kvm),
            Processor::Tcg => Some(Accelerator::Tcg),
            Processor::Native | Processor::Unknown => None,
        }
    }

    /// Human-readable name.
    pub fn name(self) -> &'static str {
        match self {
            Processor::Native => "native CPU",
            Processor::Kvm => "virtual CPU (KVM)",
            Processor::Tcg => "emulated CPU (TCG)",
            Processor::Unknown => "unknown CPU",
        }
    }
}

impl From<Accelerator> for Processor {
    fn from(accelerator: Accelerator) -> Self {
        match accelerator {
            Accelerator::Kvm => Processor::Kvm,
            Accelerator::Tcg => Processor::Tcg,
        }
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Processor::Native => "native",
            Processor::Kvm => "kvm",
            Processor::Tcg => "tcg",
            Processor::Unknown => "unknown",
        })
    }
}

/// Its name in records, or `none` if there was no guest.
pub fn id_of(processor: Option<Processor>) -> String {
    processor.map_or_else(|| "none".to_owned(), |processor| processor.to_string())
}

/// Human-readable name of the processor that executed a guest, if there was one.
pub fn name_of(processor: Option<Processor>) -> &'static str {
    processor.map_or("no guest", Processor::name)
}

/// Writes a processor that may be missing as its name or as `none`, for `#[serde(with)]`.
pub mod or_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Processor;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum NoProcessor {
        None,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum OrNone {
        Processor(Processor),
        Absent(NoProcessor),
    }

    #[expect(missing_docs, reason = "serde calls it")]
    pub fn serialize<S: Serializer>(value: &Option<Processor>, to: S) -> Result<S::Ok, S::Error> {
        value.map_or(OrNone::Absent(NoProcessor::None), OrNone::Processor).serialize(to)
    }

    #[expect(missing_docs, reason = "serde calls it")]
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Processor>, D::Error> {
        Ok(match OrNone::deserialize(from)? {
            OrNone::Processor(processor) => Some(processor),
            OrNone::Absent(NoProcessor::None) => None,
        })
    }
}
