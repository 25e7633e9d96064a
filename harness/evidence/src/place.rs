//! Host or guest, and the marks by which they are told apart.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a process runs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The person's own machine; modules are never loaded here.
    Host,
    /// The virtual machine that our launcher booted.
    Guest,
}

impl Place {
    /// Both, in the order of a run.
    pub const ALL: [Place; 2] = [Place::Host, Place::Guest];
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Host => "host",
            Place::Guest => "guest",
        })
    }
}

/// One mark by which host and guest are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Mark {
    /// What was looked at.
    pub source: String,
    /// What it said.
    pub found: String,
}
