//! The engine in this process, without the cost of a home.

use std::time::Instant;

use machine::failure::Failure;
use machine::{fail, require};
use serde_json::{Value, json};
use vexfs_anns::{Hit, Index, Params, Scratch, SimdLevel, Userspace};
use vexfs_uapi::client::Declaration;

use super::interface::{Answer, Answers, Contender, Insertion};

/// An index of the engine, called directly.
pub struct InProcess {
    index: Index,
    scratch: Scratch,
    /// The rows as they were given, because the engine cannot return them. They are only returned
    /// if the engine finds each of them.
    given: Vec<f32>,
    searches: u64,
}

impl InProcess {
    /// An empty index that uses the widest instruction set of this processor.
    pub fn new(declaration: &Declaration) -> Result<Self, Failure> {
        Self::at_level(declaration, SimdLevel::detect())
    }

    /// The engine's parameters that correspond to a home's `declaration`.
    pub fn params(declaration: &Declaration) -> Params {
        Params {
            dim: declaration.dim,
            metric: declaration.metric as u32,
            kind: declaration.kind as u32,
            seed: declaration.seed,
            options: declaration.params,
        }
    }

    /// The instruction sets that this processor has, narrowest first.
    pub fn levels() -> impl Iterator<Item = SimdLevel> {
        let best = SimdLevel::detect();
        [SimdLevel::Sse2, SimdLevel::Avx2, SimdLevel::Avx512]
            .into_iter()
            .filter(move |&l| l <= best)
    }

    /// As [`InProcess::new`], with an instruction set from [`InProcess::levels`].
    pub fn at_level(declaration: &Declaration, level: SimdLevel) -> Result<Self, Failure> {
        let index =
            Index::new(&InProcess::params(declaration), level).map_err(|e| refused("index", e))?;
        Ok(InProcess { index, scratch: Scratch::new(), given: Vec::new(), searches: 0 })
    }

    fn dim(&self) -> usize {
        self.index.params().dim as usize
    }

    /// The `k` nearest rows to one query.
    fn nearest(&mut self, query: &[f32], k: u32) -> Result<Answer, Failure> {
        let query: Vec<u32> = query.iter().map(|value| value.to_bits()).collect();
        let mut hits = vec![Hit::default(); k as usize];
        let started = Instant::now();
        let found = self.index.search(&Userspace, &mut self.scratch, &query, k, 0, &mut hits);
        let took = started.elapsed();
        let found = found.map_err(|error| refused("search", error))?;
        self.searches += 1;
        let hits = &hits[..found.hits];
        Ok(Answer {
            ids: hits.iter().map(|hit| hit.row).collect(),
            distances: hits.iter().map(|hit| f32::from_bits(hit.distance)).collect(),
            took,
        })
    }
}

fn refused(what: &str, error: vexfs_anns::Error) -> Failure {
    Failure::new(format!("the engine in process refused an {what}: {error:?}"))
}

impl Contender for InProcess {
    fn name(&self) -> &str {
        "in-process"
    }

    fn describe(&mut self) -> Result<Value, Failure> {
        let params = self.index.params();
        Ok(json!({
            "engine": vexfs_anns::ENGINE,
            "home": "in-process",
            "rows": self.index.rows(),
            "searches": self.searches,
            "memory": self.index.memory(),
            "dim": params.dim,
            "metric": params.metric,
            "kind": params.kind,
            "simd": self.index.simd() as u32,
        }))
    }

    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        let held = self.index.rows();
        require!(first_row == held, "the engine in process holds {held} rows, not {first_row}");
        let bits: Vec<u32> = rows.iter().map(|value| value.to_bits()).collect();
        let started = Instant::now();
        let result = self.index.append(&Userspace, &bits);
        let took = started.elapsed();
        result.map_err(|error| refused("append", error))?;
        self.given.extend_from_slice(rows);
        Ok(Insertion { took, wall: took })
    }

    /// Searches the engine for each row before returning it: a squared distance of exactly 0 means
    /// that the engine holds the same components.
    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        let given = std::mem::take(&mut self.given);
        for (row, vector) in given.chunks_exact(self.dim()).enumerate() {
            let answer = self.nearest(vector, 1)?;
            if answer.distances != [0.0] {
                fail!("row {row} is not in the engine: the nearest is at {:?}", answer.distances);
            }
        }
        self.given = given;
        Ok(self.given.clone())
    }

    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        let k = u32::try_from(k)?;
        let started = Instant::now();
        let answers: Result<Vec<Answer>, Failure> =
            queries.chunks_exact(self.dim()).map(|query| self.nearest(query, k)).collect();
        Ok(Answers { answers: answers?, wall: started.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::oracle::Oracle;

    #[test]
    fn answers_exactly() {
        let dataset = Dataset::generate(11, 500, 24, 20);
        let mut contender = InProcess::new(&Declaration::flat(24)).unwrap();
        contender.insert(0, &dataset.base[..24 * 200]).unwrap();
        contender.insert(200, &dataset.base[24 * 200..]).unwrap();
        assert!(contender.insert(7, &dataset.base).is_err());
        let answers = contender.search(&dataset.queries, 10).unwrap();
        let oracle = Oracle::new(&dataset, &dataset.queries, 10);
        let ids = answers.answers.iter().map(|answer| &answer.ids[..]);
        assert_eq!(oracle.mean_recall(ids).unwrap(), 1.0);
        for (query, answer) in answers.answers.iter().enumerate() {
            oracle.check_distances(query, &answer.ids, &answer.distances).unwrap();
        }
        assert_eq!(contender.vectors().unwrap(), dataset.base);
    }
}
