//! Rounds of insertion, each of one batch.

use std::time::Duration;

use evidence::protocol::{Arm, Protocol};
use evidence::{Controls, Round};
use machine::failure::Failure;

use super::sides::Sides;
use crate::contender::interface::Contender;
use crate::dataset::Dataset;
use crate::rounds::{self, RoundObserver, Turn};

/// Rounds of insertion of the protocol's rows, each of one batch.
pub struct InsertionRounds {
    /// One operation per round: the batch was stored.
    pub stored: Vec<Round>,
    /// One operation per round: the batch was stored, and the first search after it was answered.
    /// This includes work that a contender defers until the first search.
    pub searchable: Vec<Round>,
    /// How many batches of A had their last row found first by that search.
    pub a_found: usize,
    /// How many batches of B had their last row found first by that search.
    pub b_found: usize,
}

/// Inserts the base of `dataset` into all four sides, from empty, in the protocol's batches. `seen`
/// is called after each round.
///
/// # Errors
/// The first failure of a side, or a claimed time that is not plausible.
pub fn insertion_rounds(
    mut sides: Sides<'_>,
    dataset: &Dataset,
    protocol: &Protocol,
    seen: &mut RoundObserver<'_>,
) -> Result<InsertionRounds, Failure> {
    let mut inserted = Arm::ALL.map(|_| InsertionSide::default());
    // Rows can only be stored once, so disturbed rounds are not repeated.
    let stored = rounds::controlled_rounds(protocol.rounds(), 0, seen, |arm, round| {
        let times = inserted[arm as usize].round(sides.of(arm), dataset, protocol, round)?;
        Ok(Turn::of(times))
    })?
    .rounds;
    let [a, b, again, slowed] = inserted;
    let searchable = stored
        .iter()
        .enumerate()
        .map(|(i, round)| Round {
            order: round.order,
            a_ns: vec![a.searchable_ns[i]],
            b_ns: vec![b.searchable_ns[i]],
            controls: Some(Controls {
                again_ns: vec![again.searchable_ns[i]],
                slowed_ns: vec![slowed.searchable_ns[i]],
                ..Controls::default()
            }),
            noise: round.noise,
        })
        .collect();
    Ok(InsertionRounds { stored, searchable, a_found: a.found, b_found: b.found })
}

#[derive(Default)]
struct InsertionSide {
    searchable_ns: Vec<u64>,
    found: usize,
}

impl InsertionSide {
    fn round(
        &mut self,
        contender: &mut dyn Contender,
        dataset: &Dataset,
        protocol: &Protocol,
        round: usize,
    ) -> Result<Vec<Duration>, Failure> {
        let first = round * protocol.insertion_batch;
        let last = first + protocol.insertion_batch - 1;
        let name = contender.name().to_owned();
        let rows = &dataset.base[first * dataset.dim..(last + 1) * dataset.dim];
        let stored = contender.insert(first as u64, rows)?.time(&name)?;
        let answers = contender.search(dataset.row(last), 1)?;
        let searched: Duration = answers.times(&name)?.iter().sum();
        self.searchable_ns.push(u64::try_from((stored + searched).as_nanos())?);
        self.found += usize::from(answers.answers[0].ids == [last as u64]);
        Ok(vec![stored])
    }
}
