//! Several stores that are given the same rows, one after the other.
//!
//! A batch of the protocol's rows is stored in a fraction of a millisecond, in which 5 % are lost
//! in noise. The mean over several stores is the time of a batch still.

use std::time::Duration;

use serde_json::Value;

use super::{Answers, Contender, Insertion};
use crate::failure::Failure;

/// Stores that are alike; the first answers for all. It finds the processor's caches as another side
/// left them, and its times count as those of the others do: a side that has one store has that one.
pub struct Replicas<C> {
    stores: Vec<C>,
    single: Vec<Vec<Duration>>,
}

impl<C: Contender> Replicas<C> {
    /// Makes `count` of them, at least one; `make` is given the number of each.
    ///
    /// # Errors
    /// The first that cannot be made.
    pub fn new(
        count: usize,
        make: impl FnMut(usize) -> Result<C, Failure>,
    ) -> Result<Self, Failure> {
        let stores = (0..count.max(1)).map(make).collect::<Result<_, _>>()?;
        Ok(Replicas { stores, single: Vec::new() })
    }

    /// Each of them.
    #[must_use]
    pub fn each(&self) -> &[C] {
        &self.stores
    }

    /// What each batch took in each store, whose means are the times of the batches.
    #[must_use]
    pub fn single(&self) -> &[Vec<Duration>] {
        &self.single
    }

    fn first(&mut self) -> &mut C {
        &mut self.stores[0]
    }
}

impl<C: Contender> Contender for Replicas<C> {
    fn name(&self) -> &str {
        self.stores[0].name()
    }

    fn describe(&mut self) -> Result<Value, Failure> {
        self.first().describe()
    }

    /// Times are means over all.
    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        let mut sum = Insertion { took: Duration::ZERO, wall: Duration::ZERO };
        let mut single = Vec::with_capacity(self.stores.len());
        for one in &mut self.stores {
            let inserted = one.insert(first_row, rows)?;
            let took = inserted.time(one.name())?;
            sum.took += took;
            sum.wall += inserted.wall;
            single.push(took);
        }
        let count = u32::try_from(single.len())?;
        self.single.push(single);
        Ok(Insertion { took: sum.took / count, wall: sum.wall / count })
    }

    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        self.first().vectors()
    }

    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        self.first().search(queries, k)
    }
}

#[cfg(test)]
mod tests {
    use vexfs_uapi::client::Declaration;

    use super::super::InProcess;
    use super::*;

    #[test]
    fn all_are_given_the_rows() {
        let make = |_| InProcess::new(&Declaration::flat(2));
        let mut three = Replicas::new(3, make).unwrap();
        let inserted = three.insert(0, &[0.0, 0.0, 1.0, 1.0]).unwrap();
        assert!(inserted.time("three").is_ok());
        assert_eq!((three.stores.len(), three.single().len()), (3, 1));
        assert_eq!(three.single()[0].len(), 3);
        assert_eq!(three.single()[0].iter().sum::<Duration>() / 3, inserted.took);
        for one in &mut three.stores {
            assert_eq!(one.vectors().unwrap(), [0.0, 0.0, 1.0, 1.0]);
        }
        assert_eq!(three.search(&[1.0, 1.0], 1).unwrap().answers[0].ids, [1]);
    }
}
