//! Rounds of the same work on two sides, in ABBA order.
//!
//! When a system is compared with itself, sequential blocks find a false difference 12-24 % of the
//! time, and interleaved pairs 1-5 %. Interleaving makes drift on a busy machine affect both sides
//! equally.

use std::time::Duration;

use evidence::protocol::{Arm, ORDERS, controlled_order_of};
use evidence::{Controls, Order, Round};
use machine::failure::Failure;
use machine::noise::{Pinned, Sampler};

/// The order of round `index`: AB, BA, AB, BA, so that every two rounds form ABBA.
pub fn order_of(index: usize) -> Order {
    if index.is_multiple_of(2) { Order::AB } else { Order::BA }
}

/// Runs `a` and `b` in the order of round `index`, and `between` between the two.
pub fn round<A, Between, B>(
    index: usize,
    a: impl FnOnce() -> Result<A, Failure>,
    between: impl FnOnce() -> Between,
    b: impl FnOnce() -> Result<B, Failure>,
) -> Result<(A, Between, B), Failure> {
    match order_of(index) {
        Order::AB => {
            let first = a()?;
            let between = between();
            Ok((first, between, b()?))
        }
        Order::BA => {
            let first = b()?;
            let between = between();
            Ok((a()?, between, first))
        }
    }
}

/// Runs `count` rounds. Each side gets the round's number and returns the time of each of its
/// operations.
pub fn rounds(
    count: usize,
    mut a: impl FnMut(usize) -> Result<Vec<Duration>, Failure>,
    mut b: impl FnMut(usize) -> Result<Vec<Duration>, Failure>,
) -> Result<Vec<Round>, Failure> {
    (0..count)
        .map(|index| {
            let (a_times, (), b_times) = round(index, || a(index), || (), || b(index))?;
            let order = order_of(index);
            let (a_ns, b_ns) = (nanoseconds(&a_times), nanoseconds(&b_times));
            Ok(Round { order, a_ns, b_ns, controls: None, noise: None })
        })
        .collect()
}

/// Called after each round with all rounds that count so far.
pub type RoundObserver<'a> = dyn FnMut(&[Round]) -> Result<(), Failure> + 'a;

/// Rounds of four sides.
pub struct ControlledRounds {
    /// The rounds that count.
    pub rounds: Vec<Round>,
    /// Rounds that were disturbed beyond the bounds of [`evidence::noise`], and repeated.
    pub disturbed: Vec<Round>,
}

/// What a side did in its turn of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Time of each new query at the start of its turn.
    pub unseen: Vec<Duration>,
    /// Time of each of its operations.
    pub times: Vec<Duration>,
}

impl Turn {
    /// A turn without new queries.
    pub fn of(times: Vec<Duration>) -> Self {
        Turn { unseen: vec![], times }
    }
}

/// Runs `count` rounds of four sides: A, B, a copy of A and a slowed copy of A, in [`ORDERS`]. A
/// disturbed round is repeated, [`REPEATS`](evidence::protocol::REPEATS) times at most; `repeats`
/// is 0 for work that cannot be done twice. `seen` gets all rounds that count, after each of them.
///
/// # Errors
/// The first error of a side, or of `seen`.
pub fn controlled_rounds(
    count: usize,
    mut repeats: usize,
    seen: &mut RoundObserver<'_>,
    mut side: impl FnMut(Arm, usize) -> Result<Turn, Failure>,
) -> Result<ControlledRounds, Failure> {
    let _pinned = Pinned::here();
    let mut done = ControlledRounds { rounds: Vec::with_capacity(count), disturbed: Vec::new() };
    while done.rounds.len() < count {
        let index = done.rounds.len();
        let sampler = Sampler::start();
        let mut times = [const { Vec::new() }; Arm::ALL.len()];
        let mut unseen = times.clone();
        for &arm in &ORDERS[index % ORDERS.len()] {
            let turn = side(arm, index)?;
            times[arm as usize] = nanoseconds(&turn.times);
            unseen[arm as usize] = nanoseconds(&turn.unseen);
        }
        let [a_ns, b_ns, again_ns, slowed_ns] = times;
        let [a_unseen_ns, b_unseen_ns, ..] = unseen;
        let noise = sampler.noise();
        let controls = Some(Controls { again_ns, slowed_ns, a_unseen_ns, b_unseen_ns });
        let order = controlled_order_of(index);
        let round = Round { order, a_ns, b_ns, controls, noise: Some(noise) };
        if noise.is_beyond_bounds() == Some(true) && repeats > 0 {
            repeats -= 1;
            done.disturbed.push(round);
        } else {
            done.rounds.push(round);
            seen(&done.rounds)?;
        }
    }
    Ok(done)
}

/// Times in whole nanoseconds; a time that does not fit becomes `u64::MAX`.
pub fn nanoseconds(times: &[Duration]) -> Vec<u64> {
    times.iter().map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_order_is_abba() {
        let seen = RefCell::new(String::new());
        let side = |name: char, nanoseconds: u64| {
            let seen = &seen;
            move |_: usize| {
                seen.borrow_mut().push(name);
                Ok(vec![Duration::from_nanos(nanoseconds)])
            }
        };
        let rounds = rounds(4, side('A', 10), side('B', 20)).unwrap();
        assert_eq!(seen.into_inner(), "ABBAABBA");
        assert_eq!(
            rounds[1],
            Round { order: Order::BA, a_ns: vec![10], b_ns: vec![20], controls: None, noise: None }
        );
    }

    #[test]
    fn four_sides_come_in_their_orders() {
        let mut seen = String::new();
        let mut counts = Vec::new();
        let mut on = |rounds: &[Round]| {
            counts.push(rounds.len());
            Ok(())
        };
        let done = controlled_rounds(2, 0, &mut on, |arm, index| {
            seen.push(['A', 'B', 'a', 's'][arm as usize]);
            let time = |nanoseconds: u64| vec![Duration::from_nanos(nanoseconds + arm as u64)];
            Ok(Turn { times: time(10 * index as u64), unseen: time(70) })
        })
        .unwrap();
        assert_eq!((&*seen, counts), ("ABsaBaAs", vec![1, 2]));
        let (a_unseen_ns, b_unseen_ns) = (vec![70], vec![71]);
        let controls =
            Some(Controls { again_ns: vec![12], slowed_ns: vec![13], a_unseen_ns, b_unseen_ns });
        let noise = done.rounds[1].noise;
        assert!(noise.is_some());
        let last = Round { order: Order::BA, a_ns: vec![10], b_ns: vec![11], controls, noise };
        assert_eq!(done.rounds[1], last);
        assert!(done.disturbed.is_empty());
    }

    #[test]
    fn what_is_between_stays_between() {
        let seen = RefCell::new(String::new());
        let say = |what: char| {
            seen.borrow_mut().push(what);
            what
        };
        for index in 0..2 {
            let done = round(index, || Ok(say('A')), || say('-'), || Ok(say('B')));
            assert_eq!(done.unwrap(), ('A', '-', 'B'));
        }
        assert_eq!(seen.into_inner(), "A-BB-A");
    }

    #[test]
    fn a_side_that_fails_ends_it() {
        let result = rounds(4, |_| Ok(vec![]), |_| Err(Failure::new("driver died")));
        assert_eq!(result.unwrap_err().to_string(), "driver died");
    }
}
