//! The interface of every contender: it stores rows, gives them back, and answers queries.
//!
//! A contender times the work at the place where it is called. The harness also times the whole
//! request, so a contender cannot claim work that does not fit the time that passed.

use std::time::Duration;

use machine::failure::Failure;
use machine::require;
use serde_json::Value;

/// A store of vectors. Rows are numbered from 0 in the order of their insertion.
pub trait Contender {
    /// Its name in the evidence.
    fn name(&self) -> &str;

    /// What it reports about itself: versions, the configuration it read back, counters.
    fn describe(&mut self) -> Result<Value, Failure>;

    /// Stores whole rows as one batch; `first_row` is the number of rows that were stored before.
    ///
    /// # Errors
    /// If it did not store them all.
    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure>;

    /// Reads back all rows.
    fn vectors(&mut self) -> Result<Vec<f32>, Failure>;

    /// The `k` nearest rows to each of `queries`, with one call per query.
    ///
    /// # Errors
    /// If it did not answer every query.
    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure>;

    /// Begins its next turn: a contender that has several stores uses the next of them.
    fn next_turn(&mut self) {}
}

impl<C: Contender + ?Sized> Contender for Box<C> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn describe(&mut self) -> Result<Value, Failure> {
        (**self).describe()
    }
    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        (**self).insert(first_row, rows)
    }
    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        (**self).vectors()
    }
    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        (**self).search(queries, k)
    }
    fn next_turn(&mut self) {
        (**self).next_turn();
    }
}

/// The times of an insertion.
#[derive(Debug, Clone, Copy)]
pub struct Insertion {
    /// Time of the work itself, measured where it was called.
    pub took: Duration,
    /// Time of the whole request, by our clock.
    pub wall: Duration,
}

impl Insertion {
    /// The time of the work, if it is plausible.
    ///
    /// # Errors
    /// If the time is zero, or longer than the time that passed.
    pub fn time(&self, contender: &str) -> Result<Duration, Failure> {
        check_time(contender, "insertion", self.took, self.wall)?;
        Ok(self.took)
    }
}

/// The neighbours of one query, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Row numbers.
    pub ids: Vec<u64>,
    /// Squared L2 distances.
    pub distances: Vec<f32>,
    /// Time of the search call alone, measured where it was called.
    pub took: Duration,
}

/// The answers to a batch of queries, in their order.
#[derive(Debug, Clone)]
pub struct Answers {
    /// One answer for each query.
    pub answers: Vec<Answer>,
    /// Time of the whole request, by our clock.
    pub wall: Duration,
}

impl Answers {
    /// The time of each query, if the times are plausible together.
    ///
    /// # Errors
    /// If one of them is zero, or their sum is longer than the time that passed.
    pub fn times(&self, contender: &str) -> Result<Vec<Duration>, Failure> {
        let times: Vec<Duration> = self.answers.iter().map(|answer| answer.took).collect();
        require!(
            times.iter().all(|time| !time.is_zero()),
            "{contender} claims to have answered a query in no time: not authentic"
        );
        check_time(contender, "search", times.iter().sum(), self.wall)?;
        Ok(times)
    }
}

fn check_time(contender: &str, what: &str, took: Duration, wall: Duration) -> Result<(), Failure> {
    require!(
        took <= wall && !took.is_zero(),
        "{contender} claims {what} work of {took:?} in a request that took {wall:?}: not authentic"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::fits(&[3, 4], 8, true)]
    #[case::exactly(&[4, 4], 8, true)]
    #[case::more_than_passed(&[5, 4], 8, false)]
    #[case::no_time(&[0, 4], 8, false)]
    fn claimed_time_fits_wall_time(#[case] took: &[u64], #[case] wall: u64, #[case] fits: bool) {
        let answer =
            |&ms: &u64| Answer { ids: vec![], distances: vec![], took: Duration::from_millis(ms) };
        let wall = Duration::from_millis(wall);
        let answers = Answers { answers: took.iter().map(answer).collect(), wall };
        assert_eq!(answers.times("x").is_ok(), fits);
    }

    #[test]
    fn insertion_claims_are_checked() {
        let insertion = |took, wall| Insertion {
            took: Duration::from_millis(took),
            wall: Duration::from_millis(wall),
        };
        assert!(insertion(2, 3).time("x").is_ok());
        let message = insertion(4, 3).time("x").unwrap_err().to_string();
        assert!(message.contains("4ms in a request that took 3ms: not authentic"), "{message}");
        assert!(insertion(0, 3).time("x").is_err());
    }
}
