//! The libraries that the engine is compared with, and how their drivers are started
//! (`fixtures/peers`).

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use evidence::protocol::{Metric, Protocol};
use evidence::stats;
use machine::failure::{Failure, WithContext};
use machine::interrupt::interrupted;
use machine::{project, require};
use serde_json::{Value, json};

use crate::contender::{Contender, ContenderProgram, Driver, DriverLimits};

/// How many rounds of calls the overhead of a call is computed from.
const OVERHEAD_ROUNDS: usize = 20;
/// A single request may build an index of 100,000 rows on a busy machine.
const LIMITS: DriverLimits = DriverLimits {
    start: Duration::from_secs(120),
    request: Duration::from_secs(1800),
    interrupted,
};

/// A library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Peer {
    /// faiss-cpu.
    Faiss,
    /// hnswlib.
    Hnswlib,
    /// usearch.
    Usearch,
    /// scann.
    Scann,
    /// pyglass-portable.
    Glass,
    /// scalable-vs.
    Svs,
    /// rabitqlib.
    Rabitqlib,
    /// ngt.
    Ngt,
}

impl Peer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Faiss => "faiss",
            Peer::Hnswlib => "hnswlib",
            Peer::Usearch => "usearch",
            Peer::Scann => "scann",
            Peer::Glass => "glass",
            Peer::Svs => "svs",
            Peer::Rabitqlib => "rabitqlib",
            Peer::Ngt => "ngt",
        }
    }

    /// The Python distribution that it is installed from.
    pub fn package(self) -> &'static str {
        match self {
            Peer::Faiss => "faiss-cpu",
            Peer::Glass => "pyglass-portable",
            Peer::Svs => "scalable-vs",
            _ => self.name(),
        }
    }

    /// Whether it has no index for this metric.
    pub fn lacks(self, metric: Metric) -> bool {
        self == Peer::Ngt && metric == Metric::InnerProduct
    }

    /// Why it is left out, if the set-up found that it cannot be installed or does not run on this
    /// processor.
    pub fn absent(self) -> Option<String> {
        let note = project::peers().join("absent").join(self.name());
        fs::read_to_string(note).ok().map(|why| why.trim().to_owned())
    }

    /// Starts the library's driver with an empty index.
    ///
    /// # Errors
    /// If the peers are not set up, with the command that does it; or if the driver fails.
    pub fn start(self, protocol: &Protocol, options: &Value) -> Result<Driver, Failure> {
        start(&self.program(&project::peers(), options)?, protocol)
    }

    /// The library's driver, run by the Python of the virtual environment `venv`.
    fn program(self, venv: &Path, options: &Value) -> Result<ContenderProgram, Failure> {
        let python = venv.join("bin/python");
        // The set-up writes this file last, so it is missing if the set-up was cut short.
        let stamp = venv.join("stamp");
        require!(
            stamp.is_file() && python.is_file(),
            "{} is not set up ({} is not there); provide it with: make bench-setup",
            self.name(),
            stamp.display()
        );
        let driver = format!("fixtures/peers/{}_driver.py", self.name());
        Ok(ContenderProgram {
            name: self.name().to_owned(),
            competitor: None,
            program: python,
            arguments: vec![project::root().join(driver).into()],
            options: options.clone(),
        })
    }

    /// How long a call takes by itself, in nanoseconds: the median over calls that look for one
    /// neighbour in an index of one row, or of as few rows as the library allows. The driver's own
    /// clock measures it.
    pub fn call_overhead(self, protocol: &Protocol, queries: &[f32]) -> Result<f64, Failure> {
        let (rows, options) = match self {
            Peer::Faiss | Peer::Svs => (1, json!({"index": "flat"})),
            Peer::Hnswlib => (1, json!({"m": 16, "ef_construction": 200})),
            Peer::Usearch => (1, json!({"index": "hnsw", "m": 16, "ef_construction": 200})),
            Peer::Scann => (1, json!({"index": "exact"})),
            Peer::Glass => (64, graph("hnsw", 16, json!({"quantizer": "SQ8"}))),
            Peer::Rabitqlib => (64, graph("symqg", 32, json!({}))),
            Peer::Ngt => (1, json!({"m": 20})),
        };
        let mut driver = self.start(&Protocol { rows, ..*protocol }, &options)?;
        driver.insert(0, &queries[..rows * protocol.dim])?;
        if let Peer::Glass | Peer::Rabitqlib = self {
            driver.configure(&json!({"ef": 1}))?;
        }
        let mut nanoseconds = Vec::new();
        for _ in 0..OVERHEAD_ROUNDS {
            let times = driver.search(queries, 1)?.times(self.name())?;
            nanoseconds.extend(times.iter().map(|time| time.as_nanos() as f64));
        }
        driver.close()?;
        Ok(stats::median(&nanoseconds).unwrap_or_default())
    }
}

fn graph(index: &str, m: u32, mut options: Value) -> Value {
    options["index"] = index.into();
    options["m"] = m.into();
    options["ef_construction"] = 200.into();
    options
}

fn start(program: &ContenderProgram, protocol: &Protocol) -> Result<Driver, Failure> {
    Driver::start(program, protocol, LIMITS)
        .context("a library to compare with; where it is not there: make bench-setup")
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::protocol::PROTOCOL;

    #[test]
    fn peers_that_are_not_there_name_their_set_up() {
        let venv = tempfile::tempdir().unwrap();
        for peer in Peer::value_variants() {
            let message = peer.program(venv.path(), &json!({})).unwrap_err().to_string();
            assert!(message.contains("stamp is not there"), "{message}");
            assert!(message.ends_with("provide it with: make bench-setup"), "{message}");
        }
    }

    #[test]
    fn a_library_that_went_missing_names_its_set_up() {
        // An interpreter that lacks the package: importing it fails.
        let program = ContenderProgram {
            name: "faiss".into(),
            competitor: None,
            program: "/bin/sh".into(),
            arguments: ["-c", "echo \"ModuleNotFoundError: No module named 'faiss'\" >&2; exit 1"]
                .map(Into::into)
                .to_vec(),
            options: json!({}),
        };
        let message = start(&program, &PROTOCOL).err().unwrap().to_string();
        assert!(message.contains("make bench-setup") && message.contains("No module"), "{message}");
    }

    #[test]
    fn every_peer_has_a_driver() {
        for peer in Peer::value_variants() {
            let driver = format!("fixtures/peers/{}_driver.py", peer.name());
            assert!(project::root().join(&driver).is_file(), "{driver}");
        }
    }
}
