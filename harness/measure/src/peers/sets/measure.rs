//! Measures a set: builds and tries all indexes on all processors, then measures them in turns on
//! one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use evidence::protocol::{PROTOCOL, Protocol};
use indicatif::ProgressBar;
use machine::failure::{Failure, WithContext};
use machine::interrupt::interrupted;
use machine::require;
use serde_json::{Value, json};
use vexfs_anns::SimdLevel;
use vexfs_uapi::Kind;

use super::built::{Built, Swept};
use super::result::{Absent, Enough, Line, Measured, OverFlat};
use super::set::Set;
use super::side::{SetSide, Whose};
use super::truth::Truth;
use crate::dataset::Dataset;
use crate::peers::core::Cores;
use crate::peers::data::TIMED;
use crate::peers::peer::Peer;
use crate::peers::row::{Sample, speed};
use crate::peers::run::simd_name;
use crate::peers::turns::ns;
use crate::rounds;

/// What is the same for all sets.
pub struct SetsBench<'a> {
    /// Rounds before those that count.
    pub warmups: usize,
    /// Rounds that count; with 0, only recall is measured.
    pub rounds: usize,
    /// The processors that may be used.
    pub cores: Cores,
    /// Model name of the processor.
    pub cpu: String,
    /// Where progress is shown.
    pub progress: &'a ProgressBar,
    /// The cost of a call for each peer that was needed so far.
    pub overheads: HashMap<Peer, f64>,
}

type Ready = (Built, Swept);

impl SetsBench<'_> {
    /// Measures `sides` on `set`.
    ///
    /// # Errors
    /// If ours fails or answers with rows that do not exist, or the user interrupts. A peer that
    /// fails is [`Absent`].
    pub fn measure(&mut self, set: &Set, sides: &[SetSide]) -> Result<Measured, Failure> {
        self.cores.use_all()?;
        self.say(set, "exact answers");
        let truth = Truth::new(&set.dataset, set.about.metric, PROTOCOL.k);
        let mut absent = Vec::new();
        let mut waiting = VecDeque::new();
        for (at, side) in sides.iter().enumerate() {
            match why_not(side, set) {
                Some(why) => absent.push(Absent { index: side.name(), why }),
                None => waiting.push_back((at, side)),
            }
        }
        let (waiting, gate) = (Mutex::new(waiting), Mutex::new(()));
        let (count, progress) = (self.cores.count().max(1), self.progress);
        thread::scope(|scope| {
            // A driver's process ends with the thread that started it, so these threads stay until
            // everything has been measured.
            let _measuring = gate.lock().expect("no panic");
            let (tell, told) = mpsc::channel();
            for _ in 0..count {
                let (tell, waiting, gate, truth) = (tell.clone(), &waiting, &gate, &truth);
                scope.spawn(move || {
                    build_waiting(set, truth, waiting, progress, &tell);
                    drop(tell);
                    drop(gate.lock());
                });
            }
            drop(tell);
            let ready = sorted_out(sides, told.into_iter().collect(), &mut absent)?;
            self.cores.stay_on_one()?;
            self.finish(set, ready, absent)
        })
    }

    /// Measures all built indexes in turns, and puts the results together.
    fn finish(
        &mut self,
        set: &Set,
        mut ready: Vec<Ready>,
        mut absent: Vec<Absent>,
    ) -> Result<Measured, Failure> {
        let rounds = self.take_turns(set, &mut ready, &mut absent)?;
        let over_flat = self.over_flat(set, &mut ready)?;
        let mut lines = Vec::new();
        for (((built, swept), rounds_ns), over_flat) in ready.into_iter().zip(rounds).zip(over_flat)
        {
            let overhead = match built.side.whose {
                Whose::Theirs(peer) if !rounds_ns.is_empty() => self.overhead(peer)?,
                _ => 0.0,
            };
            lines.push(Line { over_flat, ..line(set, &built, swept, rounds_ns, overhead) });
            built.close()?;
        }
        let mut measured = Measured {
            set: set.about.name.clone(),
            about: set.about.about.clone(),
            metric: serde_json::to_value(set.about.metric)?.as_str().unwrap_or("?").to_owned(),
            rows: set.about.rows,
            dim: set.about.dim,
            timed: TIMED,
            lines,
            absent,
            simd: simd_name(SimdLevel::detect()).to_owned(),
            cpu: self.cpu.clone(),
        };
        measured.set_beside();
        Ok(measured)
    }

    fn say(&self, set: &Set, what: &str) {
        self.progress.set_message(format!("{}: {what}", set.about.name));
    }

    /// Asks all indexes that are good enough, in turns; returns the time of each round for each
    /// index.
    fn take_turns(
        &self,
        set: &Set,
        ready: &mut Vec<Ready>,
        absent: &mut Vec<Absent>,
    ) -> Result<Vec<Vec<u64>>, Failure> {
        let core = self.cores.measuring();
        let mut settings: Vec<Option<Value>> = Vec::new();
        for (built, swept) in ready.iter_mut() {
            let setting = swept.enough.as_ref().map(|tried| tried.setting.clone());
            if let Some(setting) = setting.as_ref().filter(|_| self.rounds > 0) {
                built.move_to(core)?;
                built.configure(setting)?;
            }
            settings.push(setting);
        }
        let mut times = vec![Vec::new(); ready.len()];
        let rounds = if self.rounds == 0 { 0 } else { self.warmups + self.rounds };
        let mut gone = Vec::new();
        for round in 0..rounds {
            require!(!interrupted(), "interrupted");
            self.say(set, &format!("round {} of {rounds}", round + 1));
            for at in order(round, ready.len()) {
                let Some(setting) = settings[at].clone() else { continue };
                let (built, _) = &mut ready[at];
                match built.ask(set, &setting, TIMED) {
                    Ok((took, _)) if round >= self.warmups => {
                        times[at].push(ns(took.iter().sum::<Duration>())?);
                    }
                    Ok(_) => {}
                    Err(failure) if built.is_ours() || interrupted() => return Err(failure),
                    Err(failure) => {
                        let why = shortened(&failure);
                        absent.push(Absent { index: built.side.name(), why });
                        settings[at] = None;
                        gone.push(at);
                    }
                }
            }
        }
        gone.sort_unstable();
        for at in gone.into_iter().rev() {
            ready.remove(at);
            times.remove(at);
        }
        Ok(times)
    }

    /// For each of our indexes except Flat, and for Flat's copy, its default speed over that of
    /// Flat. The two run by themselves in ABBA order, so that no third index affects the caches.
    fn over_flat(&self, set: &Set, ready: &mut [Ready]) -> Result<Vec<Option<OverFlat>>, Failure> {
        let mut over = vec![None; ready.len()];
        let flat = ready
            .iter()
            .position(|(built, _)| built.side.whose == Whose::Ours(Kind::Flat) && !built.side.copy);
        let (Some(flat), true) = (flat, self.rounds > 0) else { return Ok(over) };
        for (at, over) in over.iter_mut().enumerate() {
            let Ok([(kind, _), (flat, _)]) = ready.get_disjoint_mut([at, flat]) else { continue };
            if !kind.is_ours() {
                continue;
            }
            self.say(set, &format!("{} by default beside Flat", kind.side.name()));
            let time = |built: &mut Built| {
                let (took, _) = built.ask(set, &json!({}), TIMED)?;
                ns(took.iter().sum::<Duration>())
            };
            let mut samples = Vec::new();
            for round in 0..self.warmups + self.rounds {
                require!(!interrupted(), "interrupted");
                let (ours, (), peer) = rounds::round(round, || time(kind), || (), || time(flat))?;
                if round >= self.warmups {
                    samples.push(Sample { ours, peer, bound: 0 });
                }
            }
            *over = Some(OverFlat::of(&samples));
        }
        Ok(over)
    }

    /// The cost of a call of the peer in nanoseconds, measured once with 64 components.
    fn overhead(&mut self, peer: Peer) -> Result<f64, Failure> {
        if let Some(&known) = self.overheads.get(&peer) {
            return Ok(known);
        }
        self.progress.set_message(format!("{}: what a call costs", peer.name()));
        let data = Dataset::generate(PROTOCOL.seed, 1, 64, PROTOCOL.queries);
        let protocol = Protocol { dim: data.dim, ..PROTOCOL };
        let overhead = peer.call_overhead(&protocol, &data.queries).context(peer.name())?;
        self.overheads.insert(peer, overhead);
        Ok(overhead)
    }
}

/// Builds the waiting indexes and tries their settings, until none is left.
fn build_waiting(
    set: &Set,
    truth: &Truth<'_>,
    waiting: &Mutex<VecDeque<(usize, &SetSide)>>,
    progress: &ProgressBar,
    tell: &mpsc::Sender<(usize, Result<Ready, Failure>)>,
) {
    while !interrupted() {
        let next = waiting.lock().expect("no panic").pop_front();
        let Some((at, side)) = next else { break };
        progress.set_message(format!("{}: building {}", set.about.name, side.name()));
        let ready = Built::build(side, set).and_then(|mut built| {
            let swept = built.sweep(set, truth)?;
            Ok((built, swept))
        });
        if tell.send((at, ready)).is_err() {
            break;
        }
    }
}

/// The built indexes in the order of `sides`. A peer that failed is absent.
fn sorted_out(
    sides: &[SetSide],
    mut done: Vec<(usize, Result<Ready, Failure>)>,
    absent: &mut Vec<Absent>,
) -> Result<Vec<Ready>, Failure> {
    require!(!interrupted(), "interrupted");
    done.sort_by_key(|(at, _)| *at);
    let mut ready = Vec::new();
    for (at, one) in done {
        match (one, sides[at].whose) {
            (Ok(one), _) => ready.push(one),
            (Err(failure), Whose::Ours(_)) => return Err(failure.context("ours")),
            (Err(failure), Whose::Theirs(_)) => {
                absent.push(Absent { index: sides[at].name(), why: shortened(&failure) });
            }
        }
    }
    Ok(ready)
}

/// The reason why a side is not even tried, if there is one.
fn why_not(side: &SetSide, set: &Set) -> Option<String> {
    let Whose::Theirs(peer) = side.whose else { return None };
    if peer.lacks(set.about.metric) {
        return Some("it has no such distance".to_owned());
    }
    peer.absent()
}

/// The order of the sides in a round: forwards, then backwards, starting with a different side
/// every two rounds, so that no side always follows the same one.
fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| {
        let place = (at + round / 2) % count;
        if round.is_multiple_of(2) { place } else { count - 1 - place }
    })
}

fn line(set: &Set, built: &Built, swept: Swept, rounds_ns: Vec<u64>, overhead: f64) -> Line {
    let qps = |rounds: &[u64]| speed(rounds.iter().copied(), TIMED);
    let enough = swept.enough.map(|tried| Enough {
        setting: tried.setting,
        recall: tried.recall,
        // Without rounds, only the time from trying the setting is known.
        qps: if rounds_ns.is_empty() { 1e9 / tried.nanoseconds } else { qps(&rounds_ns) },
        call_overhead_ns: overhead,
        rounds_ns,
    });
    Line {
        index: built.side.name(),
        ours: built.is_ours(),
        version: built.version.clone(),
        built: built.side.built.clone(),
        build_s: built.build.as_secs_f64(),
        bytes_per_row: built.memory as f64 / set.about.rows as f64,
        default_recall: swept.default.as_ref().map(|tried| tried.recall),
        default_qps: swept.default.as_ref().map(|tried| 1e9 / tried.nanoseconds),
        over_flat: None,
        best_recall: swept.best_recall,
        enough,
        beside: None,
    }
}

/// The last line of a failure, where a driver's traceback names the error.
fn shortened(failure: &Failure) -> String {
    let said = failure.to_string();
    said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("?").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_asked_once_a_round_and_follows_different_ones() {
        let count = 5;
        let mut before_the_third = Vec::new();
        for round in 0..2 * count {
            let order: Vec<usize> = order(round, count).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..count).collect::<Vec<_>>());
            let place = order.iter().position(|&at| at == 2).unwrap();
            before_the_third.extend(place.checked_sub(1).map(|before| order[before]));
        }
        before_the_third.sort_unstable();
        before_the_third.dedup();
        assert_eq!(before_the_third, [1, 3]);
    }
}
