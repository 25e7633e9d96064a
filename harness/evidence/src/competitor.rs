//! The vector databases that VexFS is compared with.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A competitor.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "System")]
pub enum Competitor {
    /// ChromaDB.
    Chromadb,
    /// Qdrant.
    Qdrant,
}

impl Competitor {
    /// All of them.
    pub const ALL: [Competitor; 2] = [Competitor::Chromadb, Competitor::Qdrant];

    /// Its name in evidence, trials, rules and on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Competitor::Chromadb => "chromadb",
            Competitor::Qdrant => "qdrant",
        }
    }

    /// The directory in `fixtures/competitors` with the driver that runs its library in its own
    /// process.
    pub fn library_driver(self) -> &'static str {
        self.id()
    }

    /// The directory in `fixtures/competitors` with the driver that talks to its server.
    pub fn server_driver(self) -> &'static str {
        match self {
            // One driver does both.
            Competitor::Chromadb => "chromadb",
            Competitor::Qdrant => "qdrant_server",
        }
    }

    /// The directory of its library among the installed Python packages.
    pub fn python_package(self) -> &'static str {
        match self {
            Competitor::Chromadb => "chromadb",
            Competitor::Qdrant => "qdrant_edge",
        }
    }
}

impl fmt::Display for Competitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Competitor::Chromadb => "ChromaDB",
            Competitor::Qdrant => "Qdrant",
        })
    }
}
