//! Our side: the engine in this process, with nothing but its calls timed.

use std::time::{Duration, Instant};

use machine::failure::Failure;
use machine::interrupt::interrupted;
use vexfs_anns::{Error, Hit, Index, Params, Platform, Scratch, SimdLevel};
use vexfs_uapi::{Kind, Metric};

use crate::contender::Answer;
use crate::dataset::Dataset;

/// An index of the engine, its queries, and room for its answers.
pub struct Engine {
    index: Index,
    scratch: Scratch,
    queries: Vec<u32>,
    k: usize,
    hits: Vec<Hit>,
    answered: Vec<EngineAnswer>,
    /// How many queries the last round asked.
    asked: usize,
    build: Duration,
}

#[derive(Clone, Copy, Default)]
struct EngineAnswer {
    hits: usize,
    compared: u64,
    took: Duration,
}

/// The platform of an ordinary process, with long work that ends when the user interrupts it.
struct EndsOnSignal;

impl Platform for EndsOnSignal {
    fn float_begin(&self) {}
    fn float_end(&self) {}
    fn pause(&self) -> Result<(), Error> {
        if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

impl Engine {
    /// Builds an index over the rows of `dataset` with the widest instructions of this processor.
    /// It will be asked for the `k` nearest rows, by L2, to each of the dataset's queries.
    pub fn build(
        kind: Kind,
        structure: &[u32],
        dataset: &Dataset,
        k: usize,
    ) -> Result<Self, Failure> {
        Engine::by(Metric::L2, kind, structure, dataset, k)
    }

    /// As [`Engine::build`], by any metric.
    pub fn by(
        metric: Metric,
        kind: Kind,
        structure: &[u32],
        dataset: &Dataset,
        k: usize,
    ) -> Result<Self, Failure> {
        let mut options = [0; 8];
        options[..structure.len()].copy_from_slice(structure);
        let params = Params {
            dim: u32::try_from(dataset.dim)?,
            metric: metric as u32,
            kind: kind as u32,
            seed: 0,
            options,
        };
        let refused = |error: Error| {
            Failure::new(format!("the engine refused to build {kind:?} {structure:?}: {error:?}"))
        };
        let rows = bits(&dataset.base);
        let mut index = Index::new(&params, SimdLevel::detect()).map_err(refused)?;
        let started = Instant::now();
        index.append(&EndsOnSignal, &rows).map_err(refused)?;
        let build = started.elapsed();
        let count = dataset.queries.len() / dataset.dim;
        Ok(Engine {
            index,
            scratch: Scratch::new(),
            queries: bits(&dataset.queries),
            k,
            hits: vec![Hit::default(); count * k],
            answered: vec![EngineAnswer::default(); count],
            asked: 0,
            build,
        })
    }

    /// The number of neighbours that it is asked for.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How many bytes the index holds, by its own count.
    pub fn memory(&self) -> u64 {
        self.index.memory()
    }

    /// How long it took to add all rows.
    pub fn build_time(&self) -> Duration {
        self.build
    }

    /// How many queries it has.
    pub fn queries(&self) -> usize {
        self.answered.len()
    }

    /// Asks each of the first `count` queries once, with `param` as efSearch, nprobe or refine.
    pub fn round(&mut self, param: u32, count: usize) -> Result<(), Failure> {
        self.asked = count.min(self.answered.len());
        let queries = self.queries.chunks_exact(self.index.params().dim as usize).take(count);
        let answers = self.hits.chunks_exact_mut(self.k).zip(&mut self.answered);
        let (index, scratch, k) = (&self.index, &mut self.scratch, self.k as u32);
        for (query, (hits, answered)) in queries.zip(answers) {
            let started = Instant::now();
            let result = index.search(&EndsOnSignal, scratch, query, k, param, hits);
            let took = started.elapsed();
            let found = result.map_err(|error| {
                Failure::new(format!("the engine refused a search with {param}: {error:?}"))
            })?;
            *answered = EngineAnswer { hits: found.hits, compared: found.distances, took };
        }
        Ok(())
    }

    /// Times of the last round's searches.
    pub fn times(&self) -> impl Iterator<Item = Duration> {
        self.answered[..self.asked].iter().map(|answered| answered.took)
    }

    /// Mean number of rows that a search of the last round compared with its query.
    pub fn compared(&self) -> usize {
        let answered = &self.answered[..self.asked];
        let sum: u64 = answered.iter().map(|answered| answered.compared).sum();
        usize::try_from(sum).unwrap_or(usize::MAX) / answered.len().max(1)
    }

    /// The last round's answers.
    pub fn answers(&self) -> Vec<Answer> {
        let answers = self.hits.chunks_exact(self.k).zip(&self.answered[..self.asked]);
        answers
            .map(|(hits, answered)| Answer {
                ids: hits[..answered.hits].iter().map(|hit| hit.row).collect(),
                distances: hits[..answered.hits]
                    .iter()
                    .map(|hit| f32::from_bits(hit.distance))
                    .collect(),
                took: answered.took,
            })
            .collect()
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Oracle;
    use crate::peers::recall;

    #[test]
    fn a_round_answers_every_query() {
        let dataset = Dataset::generate(11, 500, 24, 20);
        let oracle = Oracle::new(&dataset, &dataset.queries, 10);
        let mut engine = Engine::build(Kind::Flat, &[], &dataset, 10).unwrap();
        engine.round(0, 7).unwrap();
        assert_eq!(engine.times().count(), 7);
        assert_eq!(engine.answers().len(), 7);
        engine.round(0, engine.queries()).unwrap();
        assert_eq!(engine.times().count(), 20);
        assert_eq!(engine.compared(), 500);
        assert_eq!(recall(&oracle, &engine.answers()).unwrap(), 1.0);
    }

    #[test]
    fn what_the_engine_refuses_is_named() {
        let dataset = Dataset::generate(11, 50, 8, 2);
        let failure = Engine::build(Kind::Hnsw, &[1], &dataset, 10).err().unwrap();
        assert!(failure.to_string().contains("Hnsw [1]: Invalid"), "{failure}");
    }
}
