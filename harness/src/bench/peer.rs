//! The libraries that the engine is compared with, and how they are asked (`fixtures/peers`).

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::contender::{Contender, Driver, Limits, Program};
use crate::failure::{Failure, While};
use crate::protocol::Protocol;
use crate::{project, require, stats};

/// Rounds of calls from which a call's overhead is taken.
const OVERHEAD_ROUNDS: usize = 20;

/// A library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Peer {
    /// faiss-cpu.
    Faiss,
    /// hnswlib.
    Hnswlib,
    /// usearch.
    Usearch,
}

impl Peer {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Peer::Faiss => "faiss",
            Peer::Hnswlib => "hnswlib",
            Peer::Usearch => "usearch",
        }
    }

    /// The distribution that it is installed from.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Peer::Faiss => "faiss-cpu",
            Peer::Hnswlib | Peer::Usearch => self.name(),
        }
    }

    /// Starts its driver with an empty index.
    ///
    /// # Errors
    /// The peers are not set up, with the command that does it; or the driver fails.
    pub fn start(self, protocol: &Protocol, options: &Value) -> Result<Driver, Failure> {
        let python = project::peers().join("bin/python");
        // The set-up's last act: what was cut short has none.
        let stamp = project::peers().join("stamp");
        require!(
            stamp.is_file() && python.is_file(),
            "{} is not set up ({} is not there); provide it with: make bench-setup",
            self.name(),
            stamp.display()
        );
        let driver = format!("fixtures/peers/{}_driver.py", self.name());
        let program = Program {
            name: self.name().to_owned(),
            program: python,
            arguments: vec![project::root().join(driver).into()],
            options: options.clone(),
        };
        let limits = Limits { start: Duration::from_secs(120), request: Duration::from_secs(1800) };
        Driver::start(&program, protocol, limits)
            .when("the libraries to compare with; install them again with: make bench-setup")
    }

    /// Time of the call itself, in nanoseconds: the median over calls that look for one
    /// neighbour among one row, from the driver's clock to its clock.
    ///
    /// # Errors
    /// The driver's.
    pub fn call_overhead(self, protocol: &Protocol, queries: &[f32]) -> Result<f64, Failure> {
        let options = match self {
            Peer::Faiss => json!({"index": "flat"}),
            Peer::Hnswlib => json!({"m": 16, "ef_construction": 200}),
            Peer::Usearch => json!({"index": "hnsw", "m": 16, "ef_construction": 200}),
        };
        let mut driver = self.start(&Protocol { rows: 1, ..*protocol }, &options)?;
        driver.insert(0, &queries[..protocol.dim])?;
        let mut nanoseconds = Vec::new();
        for _ in 0..OVERHEAD_ROUNDS {
            let times = driver.search(queries, 1)?.times(self.name())?;
            nanoseconds.extend(times.iter().map(|time| time.as_nanos() as f64));
        }
        driver.close()?;
        Ok(stats::median(&nanoseconds).unwrap_or_default())
    }
}
