//! An index of ours or of a peer's: it is built, tried with various settings, and then measured in
//! turns.

use std::time::Duration;

use evidence::stats;
use machine::failure::{Failure, WithContext};
use serde_json::{Value, json};
use vexfs_uapi::Kind;

use super::set::Set;
use super::side::{SetSide, Whose};
use super::truth::Truth;
use crate::contender::{Contender, Driver};
use crate::peers::comparison::param_name;
use crate::peers::engine::Engine;

/// Recall@k from which a setting is good enough.
pub const ENOUGH: f64 = 0.95;

/// A search setting that was tried on all queries.
#[derive(Debug, Clone, PartialEq)]
pub struct TriedSetting {
    /// The setting.
    pub setting: Value,
    /// Recall@k, judged by distance.
    pub recall: f64,
    /// Median time of a query, in nanoseconds.
    pub nanoseconds: f64,
}

/// The result of trying all settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Swept {
    /// The result of the default setting; only for ours.
    pub default: Option<TriedSetting>,
    /// The cheapest setting with a recall of at least [`ENOUGH`].
    pub enough: Option<TriedSetting>,
    /// The best recall of all settings that were tried.
    pub best_recall: f64,
}

/// An index that was built.
pub struct Built {
    /// Which index it is.
    pub side: SetSide,
    /// Version of the peer's package; empty for ours.
    pub version: String,
    /// How long adding all rows took, possibly while another index was being built.
    pub build: Duration,
    /// Bytes: by the index's own count for ours, and by the growth of the process for a peer's.
    pub memory: u64,
    asked: BuiltIndex,
}

enum BuiltIndex {
    Engine(Box<Engine>, Kind),
    Driver(Box<Driver>),
}

impl Built {
    /// Builds the index over the rows of `set`.
    pub fn build(side: &SetSide, set: &Set) -> Result<Self, Failure> {
        let protocol = set.protocol();
        let (asked, version, build, memory) = match side.whose {
            Whose::Ours(kind) => {
                let engine = Engine::by(set.metric(), kind, &[], &set.dataset, protocol.k)?;
                let (build, memory) = (engine.build_time(), engine.memory());
                (BuiltIndex::Engine(Box::new(engine), kind), String::new(), build, memory)
            }
            Whose::Theirs(peer) => {
                let mut driver = peer.start(&protocol, &side.built)?;
                let build = driver.insert(0, &set.dataset.base)?.time(peer.name())?;
                let description = driver.describe()?;
                let version = description["versions"][peer.package()].as_str().unwrap_or("?");
                let grown = description["configuration"]["grown"].as_u64().unwrap_or_default();
                (BuiltIndex::Driver(Box::new(driver)), version.to_owned(), build, grown)
            }
        };
        Ok(Built { side: side.clone(), version, build, memory, asked })
    }

    /// Whether it is an index of ours.
    pub fn is_ours(&self) -> bool {
        matches!(self.asked, BuiltIndex::Engine(..))
    }

    /// Moves a peer's process to processor `core`.
    pub fn move_to(&mut self, core: usize) -> Result<(), Failure> {
        match &mut self.asked {
            BuiltIndex::Engine(..) => Ok(()),
            BuiltIndex::Driver(driver) => driver.configure(&json!({"core": core.to_string()})),
        }
    }

    /// Sets the parameters of the following searches. The engine gets them in [`Built::ask`]
    /// instead.
    pub fn configure(&mut self, setting: &Value) -> Result<(), Failure> {
        match &mut self.asked {
            BuiltIndex::Driver(driver)
                if setting.as_object().is_some_and(|some| !some.is_empty()) =>
            {
                driver.configure(setting)
            }
            _ => Ok(()),
        }
    }

    /// Asks the first `count` queries; returns the time and the rows of each answer.
    ///
    /// # Errors
    /// The error of the engine or the driver.
    pub fn ask(
        &mut self,
        set: &Set,
        setting: &Value,
        count: usize,
    ) -> Result<(Vec<Duration>, Vec<Vec<u64>>), Failure> {
        let k = set.protocol().k;
        let answers = match &mut self.asked {
            BuiltIndex::Engine(engine, kind) => {
                let name = param_name(*kind).unwrap_or_default();
                let param = u32::try_from(setting[name].as_u64().unwrap_or_default())?;
                engine.round(param, count)?;
                engine.answers()
            }
            BuiltIndex::Driver(driver) => {
                let queries = &set.dataset.queries[..count * set.dataset.dim];
                let answers = driver.search(queries, k)?;
                answers.times(driver.name())?;
                answers.answers
            }
        };
        let times = answers.iter().map(|answer| answer.took).collect();
        Ok((times, answers.into_iter().map(|answer| answer.ids).collect()))
    }

    /// Tries the settings of every ladder in ascending order until one is good enough.
    ///
    /// # Errors
    /// The error of the engine or the driver, or an answer that names a row that does not exist.
    pub fn sweep(&mut self, set: &Set, truth: &Truth<'_>) -> Result<Swept, Failure> {
        let ladders = self.side.ladders.clone();
        let mut enough: Vec<TriedSetting> = Vec::new();
        let (mut default, mut best_recall) = (None, 0.0);
        for ladder in &ladders {
            for setting in ladder {
                let tried = self.try_out(set, truth, setting)?;
                best_recall = f64::max(best_recall, tried.recall);
                if self.is_ours() && setting.as_object().is_some_and(serde_json::Map::is_empty) {
                    default = Some(tried.clone());
                }
                if tried.recall >= ENOUGH {
                    enough.push(tried);
                    break;
                }
            }
        }
        let cheapest = enough.into_iter().min_by(|a, b| a.nanoseconds.total_cmp(&b.nanoseconds));
        Ok(Swept { default, enough: cheapest, best_recall })
    }

    fn try_out(
        &mut self,
        set: &Set,
        truth: &Truth<'_>,
        setting: &Value,
    ) -> Result<TriedSetting, Failure> {
        self.configure(setting)?;
        let (times, ids) = self.ask(set, setting, set.protocol().queries)?;
        let recall = truth.recall(ids.iter().map(Vec::as_slice)).context(self.side.name())?;
        let times: Vec<f64> = times.iter().map(|time| time.as_nanos() as f64).collect();
        let nanoseconds = stats::median(&times).unwrap_or(f64::NAN);
        Ok(TriedSetting { setting: setting.clone(), recall, nanoseconds })
    }

    /// Ends a peer's process in an orderly way.
    pub fn close(self) -> Result<(), Failure> {
        match self.asked {
            BuiltIndex::Engine(..) => Ok(()),
            BuiltIndex::Driver(driver) => driver.close(),
        }
    }
}
