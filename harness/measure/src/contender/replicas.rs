//! Several stores that get the same rows, one after the other.
//!
//! Storing a batch of the protocol's rows takes a fraction of a millisecond, too short to detect 5
//! % above the noise. The mean over several stores measures the same time for longer.

use std::time::Duration;

use machine::failure::Failure;
use serde_json::Value;

use super::interface::{Answers, Contender, Insertion};

/// The smallest number of stores.
pub const FEWEST: usize = 5;
/// The largest number of stores.
pub const MOST: usize = 30;
/// The time that a batch should take in all stores together, unless that needs more than [`MOST`].
/// Over such a time, noise is much less than the 5 % that a control must detect.
const ENOUGH: Duration = Duration::from_millis(15);

/// Equal stores, of which the first answers all searches. It finds the processor's caches as
/// another side left them, but its times count like the others', because a side with one store has
/// only that one. The first batch shows how many stores are needed; the others are dropped.
pub struct Replicas<C> {
    stores: Vec<C>,
    single: Vec<Vec<Duration>>,
}

impl<C: Contender> Replicas<C> {
    /// Creates [`MOST`] stores with `make`, which gets the number of each.
    pub fn new(make: impl FnMut(usize) -> Result<C, Failure>) -> Result<Self, Failure> {
        let stores = (0..MOST).map(make).collect::<Result<_, _>>()?;
        Ok(Replicas { stores, single: Vec::new() })
    }

    /// All stores.
    pub fn each(&self) -> &[C] {
        &self.stores
    }

    /// The time of each batch in each store. The means over the stores are the times of the
    /// batches.
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

    /// The times are means over all stores.
    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        let mut sum = Insertion { took: Duration::ZERO, wall: Duration::ZERO };
        let mut single = Vec::with_capacity(self.stores.len());
        for one in &mut self.stores {
            let inserted = one.insert(first_row, rows)?;
            let took = inserted.time(one.name())?;
            sum.took += took;
            sum.wall += inserted.wall;
            single.push(took);
            let is_first = self.single.is_empty();
            if is_first && single.len() >= FEWEST && sum.took >= ENOUGH {
                break;
            }
        }
        self.stores.truncate(single.len());
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

    /// A store that reports this time for every batch.
    struct Taking(InProcess, Duration);

    impl Contender for Taking {
        fn name(&self) -> &str {
            "taking"
        }
        fn describe(&mut self) -> Result<Value, Failure> {
            self.0.describe()
        }
        fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
            self.0.insert(first_row, rows)?;
            Ok(Insertion { took: self.1, wall: self.1 })
        }
        fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
            self.0.vectors()
        }
        fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
            self.0.search(queries, k)
        }
    }

    fn of(microseconds: u64) -> Replicas<Taking> {
        let took = Duration::from_micros(microseconds);
        Replicas::new(|_| Ok(Taking(InProcess::new(&Declaration::flat(2))?, took))).unwrap()
    }

    #[test]
    fn all_are_given_the_rows() {
        let mut all = Replicas::new(|_| InProcess::new(&Declaration::flat(2))).unwrap();
        let inserted = all.insert(0, &[0.0, 0.0, 1.0, 1.0]).unwrap();
        assert!(inserted.time("all").is_ok());
        let (count, single) = (all.stores.len(), all.single()[0].clone());
        assert_eq!(single.len(), count);
        assert_eq!(single.iter().sum::<Duration>() / u32::try_from(count).unwrap(), inserted.took);
        for one in &mut all.stores {
            assert_eq!(one.vectors().unwrap(), [0.0, 0.0, 1.0, 1.0]);
        }
        assert_eq!(all.search(&[1.0, 1.0], 1).unwrap().answers[0].ids, [1]);
    }

    #[test]
    fn there_are_as_many_as_a_batch_is_short() {
        for (microseconds, count) in [(400, MOST), (1_000, 15), (2_000, 8), (40_000, FEWEST)] {
            let mut all = of(microseconds);
            for batch in 0..2 {
                all.insert(batch, &[0.0, 1.0]).unwrap();
            }
            let lengths: Vec<usize> = all.single().iter().map(Vec::len).collect();
            assert_eq!((all.stores.len(), &lengths[..]), (count, &[count, count][..]));
        }
    }
}
