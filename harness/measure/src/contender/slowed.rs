//! The positive control: a contender that is slower by a known fraction, which a measurement must
//! detect.

use std::time::{Duration, Instant};

use evidence::protocol::SLOWED_BY;
use machine::failure::Failure;
use serde_json::Value;

use super::interface::{Answers, Contender, Insertion};

/// A contender that waits after each operation for [`SLOWED_BY`] of the operation's time. The delay
/// is real, and not a number that is changed afterwards.
pub struct Slowed<C> {
    contender: C,
    dim: usize,
}

impl<C: Contender> Slowed<C> {
    /// Slows down `contender`, whose rows have `dim` components.
    pub fn new(contender: C, dim: usize) -> Self {
        Slowed { contender, dim }
    }

    /// The contender without the delay.
    pub fn plain(&self) -> &C {
        &self.contender
    }

    /// The contender without the delay, for work that is not timed.
    pub fn plain_mut(&mut self) -> &mut C {
        &mut self.contender
    }
}

/// How long to wait after an operation that `took` this long.
fn part_of(took: Duration) -> Duration {
    took.mul_f64(SLOWED_BY)
}

/// Busy-waits for a fraction of `took`; returns how long it waited.
fn wait_for_part_of(took: Duration) -> Duration {
    let started = Instant::now();
    wait_for(part_of(took), || started.elapsed())
}

/// Waits until `elapsed` reaches `part`; returns how long it waited.
fn wait_for(part: Duration, mut elapsed: impl FnMut() -> Duration) -> Duration {
    loop {
        let waited = elapsed();
        if waited >= part {
            return waited;
        }
        std::hint::spin_loop();
    }
}

impl<C: Contender> Contender for Slowed<C> {
    fn name(&self) -> &str {
        self.contender.name()
    }

    fn describe(&mut self) -> Result<Value, Failure> {
        self.contender.describe()
    }

    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        let Insertion { took, wall } = self.contender.insert(first_row, rows)?;
        let waited = wait_for_part_of(took);
        Ok(Insertion { took: took + waited, wall: wall + waited })
    }

    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        self.contender.vectors()
    }

    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        let started = Instant::now();
        let mut answers = Vec::new();
        for query in queries.chunks_exact(self.dim) {
            let mut one = self.contender.search(query, k)?.answers;
            for answer in &mut one {
                answer.took += wait_for_part_of(answer.took);
            }
            answers.append(&mut one);
        }
        Ok(Answers { answers, wall: started.elapsed() })
    }

    fn next_turn(&mut self) {
        self.contender.next_turn();
    }
}

#[cfg(test)]
mod tests {
    use vexfs_uapi::client::Declaration;

    use super::super::InProcess;
    use super::*;

    #[test]
    fn every_operation_takes_longer_and_answers_the_same() {
        let rows: Vec<f32> = (0..4_000u16).map(f32::from).collect();
        let mut plain = InProcess::new(&Declaration::flat(4)).unwrap();
        let mut slowed = Slowed::new(InProcess::new(&Declaration::flat(4)).unwrap(), 4);
        plain.insert(0, &rows).unwrap();
        let Insertion { took, wall } = slowed.insert(0, &rows).unwrap();
        assert!(took <= wall);
        let (expected, found) =
            (plain.search(&rows[..40], 3).unwrap(), slowed.search(&rows[..40], 3).unwrap());
        assert_eq!(found.answers.len(), 10);
        assert!(found.answers.iter().zip(&expected.answers).all(|(a, b)| a.ids == b.ids));
        assert!(found.times("slowed").is_ok());
    }

    #[test]
    fn the_wait_is_the_stated_part() {
        assert_eq!(part_of(Duration::from_millis(20)), Duration::from_millis(1));
        let waited = wait_for_part_of(Duration::from_millis(20));
        assert!(waited >= Duration::from_millis(1), "{waited:?}");
    }

    #[test]
    fn the_wait_ends_with_the_first_tick_that_is_not_before_its_end() {
        let tick = Duration::from_micros(30);
        let mut ticks = 0;
        let waited = wait_for(Duration::from_millis(1), || {
            ticks += 1;
            tick * ticks
        });
        assert_eq!((waited, ticks), (Duration::from_micros(1020), 34));
    }
}
