//! Measures comparisons on one set of data, one after the other.

use std::collections::HashMap;
use std::time::Duration;

use evidence::protocol::Protocol;
use evidence::stats;
use indicatif::ProgressBar;
use machine::failure::{Failure, WithContext};
use serde_json::{Value, json};
use vexfs_anns::SimdLevel;
use vexfs_uapi::Kind;

use super::bound::MemoryBound;
use super::comparison::{Comparison, named, param_name};
use super::data::{Data, TIMED};
use super::engine::Engine;
use super::pairing::{Pair, Tried, pair};
use super::peer::Peer;
use super::row::{Estimate, PeerOperation, Row, Sample, speed};
use super::turns::{MeasuringEffort, Turns, ns};
use super::{recall, require_true};
use crate::contender::{Contender, Driver};
use crate::dataset;
use crate::dataset::Dataset;
use crate::oracle::Oracle;
use crate::rounds;

/// The efSearch at which the recall of graphs is compared after timing their builds.
const EF_OF_BUILDS: u32 = 256;

/// One set of data, and the indexes that were built on it.
pub struct PeersBench<'a> {
    data: Data,
    dataset: &'a Dataset,
    protocol: Protocol,
    oracle: Oracle<'a>,
    effort: MeasuringEffort,
    cpu: String,
    engines: HashMap<(Kind, Vec<u32>), Engine>,
    overheads: HashMap<Peer, f64>,
    progress: &'a ProgressBar,
}

/// The peer's side of a comparison.
struct BuiltPeer {
    driver: Driver,
    version: String,
    description: Value,
    build: Duration,
}

/// The measurements from which a row is computed.
struct PeerMeasured {
    samples: Vec<Sample>,
    /// How many queries or rows a sample covers.
    operations: usize,
    recall: f64,
    peer_recall: f64,
    call_overhead_ns: f64,
}

impl<'a> PeersBench<'a> {
    /// Computes the exact answers on `dataset`.
    pub fn new(
        data: Data,
        (dataset, protocol): &'a (Dataset, Protocol),
        effort: MeasuringEffort,
        cpu: &str,
        progress: &'a ProgressBar,
    ) -> Self {
        progress.set_message(format!("{}: exact answers", data.name()));
        PeersBench {
            data,
            dataset,
            protocol: *protocol,
            oracle: Oracle::new(dataset, &dataset.queries, protocol.k),
            effort,
            cpu: cpu.to_owned(),
            engines: HashMap::new(),
            overheads: HashMap::new(),
            progress,
        }
    }

    /// Measures one comparison: its builds, if they are compared, and a row for each pair of
    /// settings.
    ///
    /// # Errors
    /// If a side fails or answers wrongly, or the user interrupts.
    pub fn compare(
        &mut self,
        comparison: &Comparison,
        operations: &[PeerOperation],
    ) -> Result<Vec<Row>, Failure> {
        let mut peer = self.build_peer(comparison)?;
        for structure in comparison.our_structures() {
            self.build_engine(comparison.kind, structure)?;
        }
        let mut rows = Vec::new();
        if comparison.builds && operations.contains(&PeerOperation::Build) {
            rows.push(self.builds(comparison, &mut peer)?);
        }
        if operations.contains(&PeerOperation::Search) {
            self.say(comparison, "sweeping settings");
            let theirs = self.sweep_peer(comparison, &mut peer.driver)?;
            let ours = self.sweep_engines(comparison, &theirs)?;
            for pair in pair(&theirs, &ours) {
                rows.push(self.searches(comparison, &mut peer, pair)?);
            }
        }
        peer.driver.close()?;
        Ok(rows)
    }

    fn say(&self, comparison: &Comparison, what: &str) {
        let (kind, peer) = (comparison.kind.title(), comparison.peer.name());
        self.progress.set_message(format!("{}: {kind} and {peer}: {what}", self.data.name()));
    }

    fn build_peer(&self, comparison: &Comparison) -> Result<BuiltPeer, Failure> {
        self.say(comparison, "building the peer's");
        let peer = comparison.peer;
        let mut driver = peer.start(&self.protocol, &comparison.peer_options())?;
        let build = driver.insert(0, &self.dataset.base)?.time(peer.name())?;
        let description = driver.describe()?;
        let version = description["versions"][peer.package()].as_str().unwrap_or("?").to_owned();
        Ok(BuiltPeer { driver, version, description, build })
    }

    fn build_engine(&mut self, kind: Kind, structure: &[u32]) -> Result<(), Failure> {
        let key = (kind, structure.to_vec());
        if self.engines.contains_key(&key) {
            return Ok(());
        }
        let (data, kind_name) = (self.data.name(), kind.title());
        self.progress.set_message(format!("{data}: {kind_name}: building ours {structure:?}"));
        let engine = Engine::build(kind, structure, self.dataset, self.protocol.k)?;
        self.engines.insert(key, engine);
        Ok(())
    }

    fn engine(&mut self, kind: Kind, structure: &[u32]) -> Result<&mut Engine, Failure> {
        let engine = self.engines.get_mut(&(kind, structure.to_vec()));
        engine.ok_or_else(|| Failure::new(format!("{kind:?} {structure:?} was not built")))
    }

    fn sweep_peer(
        &self,
        comparison: &Comparison,
        driver: &mut Driver,
    ) -> Result<Vec<Tried>, Failure> {
        let mut tried = Vec::new();
        for param in or_none(&comparison.peer_params) {
            configure(comparison.kind, driver, param)?;
            let answers = driver.search(&self.dataset.queries, self.protocol.k)?;
            let times: Vec<f64> = answers
                .times(comparison.peer.name())?
                .iter()
                .map(|time| time.as_nanos() as f64)
                .collect();
            let recall = recall(&self.oracle, &answers.answers).context(comparison.peer.name())?;
            let nanoseconds = stats::median(&times).unwrap_or(f64::NAN);
            tried.push(Tried { index: 0, param, recall, nanoseconds });
        }
        Ok(tried)
    }

    /// Tries our settings in ascending order, until the best recall of `theirs` is reached.
    fn sweep_engines(
        &mut self,
        comparison: &Comparison,
        theirs: &[Tried],
    ) -> Result<Vec<Tried>, Failure> {
        let enough = theirs.iter().map(|tried| tried.recall).fold(0.0, f64::max);
        let mut all = Vec::new();
        for (index, structure) in comparison.our_structures().enumerate() {
            for param in or_none(&comparison.our_params) {
                let engine = self.engine(comparison.kind, structure)?;
                engine.round(param, engine.queries())?;
                let times: Vec<f64> = engine.times().map(|time| time.as_nanos() as f64).collect();
                let answers = engine.answers();
                let recall = recall(&self.oracle, &answers).context("ours")?;
                let nanoseconds = stats::median(&times).unwrap_or(f64::NAN);
                all.push(Tried { index, param, recall, nanoseconds });
                if recall >= enough {
                    break;
                }
            }
        }
        Ok(all)
    }

    fn searches(
        &mut self,
        comparison: &Comparison,
        peer: &mut BuiltPeer,
        pair: Pair,
    ) -> Result<Row, Failure> {
        let kind = comparison.kind;
        let structure = comparison.our_structures().nth(pair.ours.index).cloned();
        let structure = structure.unwrap_or_default();
        let call_overhead_ns = self.call_overhead(comparison)?;
        self.say(comparison, &format!("searching with {}", pair.peer.param));
        configure(kind, &mut peer.driver, pair.peer.param)?;

        let (dataset, effort) = (self.dataset, self.effort);
        let engine = self.engine(kind, &structure)?;
        engine.round(pair.ours.param, engine.queries())?;
        let (must_read, which) =
            comparison.must_read(&structure, dataset.rows(), dataset.dim, engine.compared());
        let bound = MemoryBound::new(dataset::bytes(&dataset.base), must_read);
        let turns = Turns { engine, param: pair.ours.param, driver: &mut peer.driver, bound };
        let (samples, theirs) = turns.measure(&dataset.queries[..TIMED * dataset.dim], effort)?;

        let ours = self.engine(kind, &structure)?.answers();
        require_true(&self.oracle, &ours).context("ours")?;
        require_true(&self.oracle, &theirs).context(comparison.peer.name())?;
        let measured = PeerMeasured {
            recall: pair.ours.recall,
            peer_recall: pair.peer.recall,
            operations: TIMED,
            samples,
            call_overhead_ns,
        };
        let bounds = measured.samples.iter().map(|sample| sample.bound);
        let bound_qps = Some(speed(bounds, measured.operations));
        let params = (&structure[..], pair.ours.param, pair.peer.param);
        Ok(Row {
            bound_qps,
            bound_bytes: Some(must_read.bytes),
            bound_of: Some(which.to_owned()),
            ..self.row(comparison, peer, params, measured)
        })
    }

    /// Times builds of both, in turns. If one round is asked for, the builds that were needed
    /// anyway are used.
    fn builds(&mut self, comparison: &Comparison, peer: &mut BuiltPeer) -> Result<Row, Failure> {
        let (kind, structure) = (comparison.kind, &comparison.structure);
        configure(kind, &mut peer.driver, EF_OF_BUILDS)?;
        let theirs = peer.driver.search(&self.dataset.queries, self.protocol.k)?.answers;
        let engine = self.engine(kind, structure)?;
        engine.round(EF_OF_BUILDS, engine.queries())?;
        let (ours, ours_built) = (engine.answers(), engine.build_time());
        let samples = match self.effort.builds {
            1 => vec![Sample { ours: ns(ours_built)?, peer: ns(peer.build)?, bound: 0 }],
            rounds => (0..rounds)
                .map(|index| self.build_again(comparison, index))
                .collect::<Result<_, _>>()?,
        };
        let measured = PeerMeasured {
            recall: recall(&self.oracle, &ours)?,
            peer_recall: recall(&self.oracle, &theirs)?,
            operations: self.dataset.rows(),
            samples,
            // A build is one call, so the cost of a call is negligible.
            call_overhead_ns: 0.0,
        };
        let params = (&structure[..], EF_OF_BUILDS, EF_OF_BUILDS);
        Ok(Row { operation: PeerOperation::Build, ..self.row(comparison, peer, params, measured) })
    }

    fn build_again(&self, comparison: &Comparison, index: usize) -> Result<Sample, Failure> {
        self.say(comparison, &format!("build {} of {}", index + 1, self.effort.builds));
        let ours = || {
            let (kind, structure) = (comparison.kind, &comparison.structure);
            Ok(Engine::build(kind, structure, self.dataset, self.protocol.k)?.build_time())
        };
        let peers = || {
            let built = self.build_peer(comparison)?;
            built.driver.close()?;
            Ok(built.build)
        };
        let (ours, (), peer) = rounds::round(index, ours, || (), peers)?;
        Ok(Sample { ours: ns(ours)?, peer: ns(peer)?, bound: 0 })
    }

    /// A row about searches, without a bound. `params` are the structure of ours, and the search
    /// parameters of ours and of the peer.
    fn row(
        &self,
        comparison: &Comparison,
        peer: &BuiltPeer,
        (structure, param, peer_param): (&[u32], u32, u32),
        measured: PeerMeasured,
    ) -> Row {
        let PeerMeasured { samples, operations, recall, peer_recall, call_overhead_ns } = measured;
        let as_measured = Estimate::of(&samples, 0.0);
        let net = Estimate::of(&samples, call_overhead_ns * operations as f64);
        let mut peer_options = comparison.peer_options();
        if let Some(name) = param_name(comparison.kind) {
            peer_options[name] = peer_param.into();
        }
        Row {
            kind: comparison.kind.title().to_owned(),
            operation: PeerOperation::Search,
            data: self.data.name().to_owned(),
            options: named(comparison.kind, structure, Some(param)),
            recall,
            qps: speed(samples.iter().map(|sample| sample.ours), operations),
            peer: comparison.peer.name().to_owned(),
            peer_version: peer.version.clone(),
            peer_options,
            peer_recall,
            peer_qps: speed(samples.iter().map(|sample| sample.peer), operations),
            ratio: as_measured.ratio,
            lower: as_measured.bounds.map(|bounds| bounds.lower),
            upper: as_measured.bounds.map(|bounds| bounds.upper),
            net_ratio: net.ratio,
            net_lower: net.bounds.map(|bounds| bounds.lower),
            goal: comparison.goal,
            result: net.reaches(comparison.goal, recall, peer_recall),
            call_overhead_ns,
            bound_qps: None,
            bound_bytes: None,
            bound_of: None,
            rounds: samples.len(),
            simd: simd_name(SimdLevel::detect()).to_owned(),
            cpu: self.cpu.clone(),
            peer_description: peer.description["configuration"].clone(),
            samples,
        }
    }

    fn call_overhead(&mut self, comparison: &Comparison) -> Result<f64, Failure> {
        let peer = comparison.peer;
        if let Some(&known) = self.overheads.get(&peer) {
            return Ok(known);
        }
        self.say(comparison, "what a call costs");
        let overhead = peer.call_overhead(&self.protocol, &self.dataset.queries)?;
        self.overheads.insert(peer, overhead);
        Ok(overhead)
    }
}

/// The parameters to try; a kind without a search parameter is tried once, with 0.
fn or_none(params: &[u32]) -> Vec<u32> {
    if params.is_empty() { vec![0] } else { params.to_vec() }
}

fn configure(kind: Kind, driver: &mut Driver, param: u32) -> Result<(), Failure> {
    match param_name(kind) {
        Some(name) => driver.configure(&json!({name: param})),
        None => Ok(()),
    }
}

pub(super) fn simd_name(level: SimdLevel) -> &'static str {
    match level {
        SimdLevel::Sse2 => "SSE2",
        SimdLevel::Avx2 => "AVX2",
        SimdLevel::Avx512 => "AVX-512",
    }
}
