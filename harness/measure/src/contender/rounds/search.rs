//! Rounds of searches, each with the protocol's queries.

use evidence::Round;
use evidence::clock::Clock;
use evidence::protocol::{Arm, Protocol, REPEATS, UNSEEN_A_TURN};
use machine::clock;
use machine::failure::{Failure, WithContext};

use super::answered::Answered;
use super::sides::Sides;
use super::unseen::Unseen;
use crate::oracle::Oracle;
use crate::rounds::{self, RoundObserver, Turn};

/// Rounds of searches, each with the protocol's queries.
pub struct SearchRounds {
    /// One operation per query of each round.
    pub rounds: Vec<Round>,
    /// Rounds that were disturbed and repeated.
    pub disturbed: Vec<Round>,
    /// The answers of A.
    pub a: Answered,
    /// The answers of B.
    pub b: Answered,
}

/// Asks all four sides the queries of `oracle` in every round. Each turn begins with
/// [`UNSEEN_A_TURN`] new queries of `unseen`, which continues where the last call stopped. The
/// recall of every answer is computed and its distances are checked. Each side is asked
/// [`SearchRounds::asked`] queries. `seen` is called after each round.
///
/// # Errors
/// The first failure of a side; distances that do not match the rows named; a claimed time that is
/// not plausible; unseen queries that are answered worse than the others; or a copy of A whose
/// answers differ from those of A (whose recall differs, if copies need not be equal).
pub fn search_rounds(
    mut sides: Sides<'_>,
    oracle: &Oracle<'_>,
    unseen: &mut Unseen<'_>,
    protocol: &Protocol,
    seen: &mut RoundObserver<'_>,
) -> Result<SearchRounds, Failure> {
    let mut answered = Arm::ALL.map(|_| Answered::default());
    // Other processes do not disturb a count of instructions, so no round is repeated.
    let repeats = if clock::here()? == Clock::Wall { REPEATS } else { 0 };
    let rounds::ControlledRounds { rounds, disturbed } =
        rounds::controlled_rounds(protocol.rounds(), repeats, seen, |arm, _| {
            let (side, answered) = (sides.of(arm), &mut answered[arm as usize]);
            side.next_turn();
            let unseen = answered.ask_unseen(side, unseen, protocol.k)?;
            Ok(Turn { unseen, times: answered.round(side, oracle, protocol)? })
        })?;
    for (arm, answered) in Arm::ALL.into_iter().zip(&answered) {
        answered.check_unseen(unseen, protocol.k).context(sides.of(arm).name().to_owned())?;
    }
    let [a, b, again, slowed] = answered;
    for (copy, whose) in [(&again, "A and its copy"), (&slowed, "A and its slowed copy")] {
        if sides.copies_are_equal {
            copy.same_as(&a).context(whose)?;
        } else {
            copy.as_good_as(&a).context(whose)?;
        }
    }
    Ok(SearchRounds { rounds, disturbed, a, b })
}

impl SearchRounds {
    /// How many queries each side was asked.
    pub fn asked(&self, protocol: &Protocol) -> u64 {
        let rounds = self.rounds.len() + self.disturbed.len();
        (rounds * (protocol.queries + UNSEEN_A_TURN)) as u64
    }
}
