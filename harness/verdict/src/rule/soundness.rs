//! Checks, before anything is computed, that a measurement's rounds are what the protocol and its
//! rule ask for.

use evidence::clock::Clock;
use evidence::protocol::{
    PROTOCOL, REPEATS, SLOWED_BY, UNSEEN_A_TURN, controlled_order_of, of_first_queries,
};
use evidence::thresholds::{Rule, RuleOperation};
use evidence::{Controls, Measurement, Round};

/// Checks the number of rounds, their orders, equal numbers of samples on all sides, and the
/// registered slow-down.
pub(super) fn of_passes(measurement: &Measurement) -> Result<(), String> {
    if measurement.slowed_by != SLOWED_BY {
        return Err(format!(
            "a copy was slowed down by {}, where {SLOWED_BY} is registered",
            measurement.slowed_by
        ));
    }
    for pass in &measurement.passes {
        if measurement.warmups != PROTOCOL.warmups || pass.len() != PROTOCOL.rounds() {
            return Err(format!(
                "{} warm-ups in a pass of {} rounds, where the protocol asks for {} and {}",
                measurement.warmups,
                pass.len(),
                PROTOCOL.warmups,
                PROTOCOL.rounds()
            ));
        }
        for (index, round) in pass.iter().enumerate() {
            let (order, design) = (round.order, controlled_order_of(index));
            if order != design {
                return Err(format!(
                    "round {index} was done in the order {order:?}, its design asks for {design:?}"
                ));
            }
        }
        // A side with a recall has answered queries.
        let is_unseen = |one: &Controls| !one.a_unseen_ns.is_empty() && !one.b_unseen_ns.is_empty();
        if measurement.a.recall.is_some()
            && !pass.iter().all(|round| round.controls.as_ref().is_none_or(is_unseen))
        {
            return Err("a round of queries opens with none that is new".to_owned());
        }
        for round in pass {
            let samples = round.a_ns.len();
            if let Some(other) = others(round).find(|&other| other != samples || samples == 0) {
                return Err(format!(
                    "a round has {samples} samples of one side and {other} of the other"
                ));
            }
        }
    }
    of_copies(measurement)?;
    of_disturbed(measurement)
}

/// Rejects copied times: two runs of the same work never take the same nanoseconds in most rounds.
fn of_copies(measurement: &Measurement) -> Result<(), String> {
    let all = measurement.counted().count();
    let is_copied =
        |round: &&Round| round.controls.as_ref().is_some_and(|one| one.again_ns == round.a_ns);
    let copied = measurement.counted().filter(is_copied).count();
    if 2 * copied > all {
        return Err(format!(
            "the copy's times are A's own in {copied} of {all} rounds: the control was not run"
        ));
    }
    Ok(())
}

/// The samples of every side but A.
fn others(round: &Round) -> impl Iterator<Item = usize> {
    let controls = round.controls.iter().flat_map(|one| [&one.again_ns, &one.slowed_ns]);
    controls.chain([&round.b_ns]).map(Vec::len)
}

/// Only disturbed rounds may be set aside, and no more of them than the limit allows. Otherwise
/// inconvenient rounds could be dropped.
fn of_disturbed(measurement: &Measurement) -> Result<(), String> {
    let disturbed = &measurement.disturbed;
    let allowed = match measurement.clock {
        Clock::Wall => REPEATS * measurement.passes.len(),
        Clock::Instructions => 0,
    };
    if disturbed.len() > allowed {
        return Err(format!(
            "{} rounds were put aside as disturbed, where {allowed} may be",
            disturbed.len()
        ));
    }
    let is_disturbed =
        |round: &Round| round.noise.and_then(|noise| noise.is_beyond_bounds()) == Some(true);
    if !disturbed.iter().all(is_disturbed) {
        return Err("a round was put aside as disturbed that was not".to_owned());
    }
    Ok(())
}

/// Checks that the work is what `rule` measures: all samples are there, and so is the data that
/// shows that the answers were right and not cached.
pub(super) fn of_work(
    rule: &Rule,
    emulated: bool,
    measurement: &Measurement,
) -> Result<(), String> {
    let Measurement { operations_per_round: operations, a, b, disturbed, .. } = measurement;
    let registered: &[usize] = match rule.work {
        RuleOperation::Insertion => &[PROTOCOL.insertion_batch],
        RuleOperation::Search if emulated => &[PROTOCOL.queries, of_first_queries().queries],
        RuleOperation::Search => &[PROTOCOL.queries],
    };
    if !registered.contains(operations) {
        return Err(format!(
            "{operations} operations a round, where {registered:?} are registered"
        ));
    }
    let samples = match rule.work {
        RuleOperation::Insertion if !disturbed.is_empty() => {
            return Err("rows are stored once, and a round was put aside as disturbed".to_owned());
        }
        RuleOperation::Insertion => 1,
        RuleOperation::Search if a.recall.is_none() || b.recall.is_none() => {
            return Err("queries were answered, and the recall of a side is not told".to_owned());
        }
        RuleOperation::Search => *operations,
    };
    for round in measurement.passes.iter().flatten().chain(disturbed) {
        let found = others(round).chain([round.a_ns.len()]).find(|&found| found != samples);
        if let Some(found) = found {
            return Err(format!("a round has {found} samples of a side, expected {samples}"));
        }
        let is_unseen = |one: &Controls| {
            [&one.a_unseen_ns, &one.b_unseen_ns].iter().all(|times| times.len() == UNSEEN_A_TURN)
        };
        if rule.work == RuleOperation::Search && !round.controls.as_ref().is_none_or(is_unseen) {
            return Err(format!("a turn does not open with {UNSEEN_A_TURN} queries that are new"));
        }
    }
    Ok(())
}
