//! Searches in turns: ours, the bound, the peer's; in the next round in the opposite order.

use std::time::Duration;

use machine::failure::Failure;
use machine::interrupt::interrupted;
use machine::require;

use super::bound::MemoryBound;
use super::data::TIMED;
use super::engine::Engine;
use super::row::Sample;
use crate::contender::{Answer, Contender, Driver};
use crate::rounds;

/// How many rounds are measured.
#[derive(Debug, Clone, Copy)]
pub struct MeasuringEffort {
    /// Rounds before those that count.
    pub warmups: usize,
    /// Rounds of searches.
    pub rounds: usize,
    /// Rounds of builds. With one, the builds that the searches need anyway are measured.
    pub builds: usize,
}

/// Two sides that are ready to be asked, and the bound that is read in between.
pub struct Turns<'a> {
    /// Our side.
    pub engine: &'a mut Engine,
    /// The search parameter of ours.
    pub param: u32,
    /// The peer's side.
    pub driver: &'a mut Driver,
    /// The memory that is read in between.
    pub bound: MemoryBound<'a>,
}

impl Turns<'_> {
    /// Asks both sides the first [`TIMED`] queries, which are `queries`, round after round. Returns
    /// a sample for each round that counts, and the peer's last answers; the engine keeps our
    /// answers.
    ///
    /// # Errors
    /// If a side fails or claims a time that is not plausible, or the user interrupts.
    pub fn measure(
        mut self,
        queries: &[f32],
        effort: MeasuringEffort,
    ) -> Result<(Vec<Sample>, Vec<Answer>), Failure> {
        let mut samples = Vec::with_capacity(effort.rounds);
        let mut theirs = Vec::new();
        for index in 0..effort.warmups + effort.rounds {
            require!(!interrupted(), "interrupted");
            let (sample, answers) = self.round(index, queries)?;
            if index >= effort.warmups {
                samples.push(sample);
            }
            theirs = answers;
        }
        Ok((samples, theirs))
    }

    fn round(&mut self, index: usize, queries: &[f32]) -> Result<(Sample, Vec<Answer>), Failure> {
        let Turns { engine, param, driver, bound } = self;
        let k = engine.k();
        let ours = || {
            engine.round(*param, TIMED)?;
            Ok(engine.times().sum::<Duration>())
        };
        let peers = || driver.search(queries, k);
        let (ours, bound, answers) = rounds::round(index, ours, || bound.pass(TIMED), peers)?;
        let peer: Duration = answers.times(driver.name())?.iter().sum();
        let sample = Sample { ours: ns(ours)?, peer: ns(peer)?, bound: ns(bound)? };
        Ok((sample, answers.answers))
    }
}

/// A time in nanoseconds.
pub(super) fn ns(time: Duration) -> Result<u64, Failure> {
    Ok(u64::try_from(time.as_nanos())?)
}
