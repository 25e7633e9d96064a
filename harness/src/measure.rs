//! Rounds of the same work on two sides, in ABBA order.
//!
//! Comparing a system with itself, sequential blocks pass falsely 12-24 % of the time and
//! interleaved pairs 1-5 %: what drifts on a busy machine then hits both sides alike.

use std::time::Duration;

use crate::evidence::{Order, Round};
use crate::failure::Failure;

/// The order of round `index`: AB, BA, AB, BA, which makes ABBA of every two.
#[must_use]
pub fn order_of(index: usize) -> Order {
    if index.is_multiple_of(2) { Order::AB } else { Order::BA }
}

/// Does `a` and `b` in the order of round `index`, and `between` between the two.
///
/// # Errors
/// The first error of a side.
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

/// Does `count` rounds; each side is given the round's number and returns the time of each of
/// its operations.
///
/// # Errors
/// The first error of a side.
pub fn rounds(
    count: usize,
    mut a: impl FnMut(usize) -> Result<Vec<Duration>, Failure>,
    mut b: impl FnMut(usize) -> Result<Vec<Duration>, Failure>,
) -> Result<Vec<Round>, Failure> {
    (0..count)
        .map(|index| {
            let (a_times, (), b_times) = round(index, || a(index), || (), || b(index))?;
            let order = order_of(index);
            Ok(Round { order, a_ns: nanoseconds(&a_times), b_ns: nanoseconds(&b_times) })
        })
        .collect()
}

fn nanoseconds(times: &[Duration]) -> Vec<u64> {
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
        assert_eq!(rounds[1], Round { order: Order::BA, a_ns: vec![10], b_ns: vec![20] });
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
