//! How a driver is started: its program, arguments, options and limits.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use evidence::competitor::Competitor;
use machine::project;
use serde_json::Value;

/// A driver's program, arguments and options.
#[derive(Debug, Clone)]
pub struct ContenderProgram {
    /// The contender's name.
    pub name: String,
    /// The competitor that it drives, if it drives one.
    pub competitor: Option<Competitor>,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The driver's own options, e.g. `{"ef_search": 256}`.
    pub options: Value,
}

impl ContenderProgram {
    /// The driver of a competitor's library, on the project's Python.
    pub fn competitor(competitor: Competitor, options: Value) -> Self {
        ContenderProgram::driver(competitor, competitor.library_driver(), options)
    }

    /// The driver of a competitor's server at `url`. The driver removes what it has created on the
    /// server when it ends.
    pub fn server(competitor: Competitor, url: &str, mut options: Value) -> Self {
        options["url"] = url.into();
        ContenderProgram::driver(competitor, competitor.server_driver(), options)
    }

    fn driver(competitor: Competitor, name: &str, options: Value) -> Self {
        let driver = project::root().join("fixtures/competitors").join(name).join("driver.py");
        ContenderProgram {
            name: name.to_owned(),
            competitor: Some(competitor),
            program: project::python(),
            arguments: vec![driver.into()],
            options,
        }
    }

    /// Whether the driver leaves something behind unless it ends in an orderly way.
    pub fn is_server(&self) -> bool {
        self.options["url"].is_string()
    }
}

/// How long a driver may take before it counts as hung. The limits are generous, because an
/// emulated guest imports ChromaDB in 20 to 40 s and inserts 180 rows/s.
#[derive(Debug, Clone, Copy)]
pub struct DriverLimits {
    /// From its start to its first reply, which comes after all of its imports.
    pub start: Duration,
    /// For every other request.
    pub request: Duration,
    /// Ends every wait for the driver when it returns true.
    pub interrupted: fn() -> bool,
}

impl Default for DriverLimits {
    fn default() -> Self {
        DriverLimits {
            start: Duration::from_secs(300),
            request: Duration::from_secs(180),
            interrupted: || false,
        }
    }
}
