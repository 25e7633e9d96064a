//! What every measuring trial does with its rounds.

use crate::evidence::{Measurement, Round, Side};
use crate::failure::Failure;
use crate::protocol::PROTOCOL;
use crate::require;
use crate::stats::Outcome;
use crate::thresholds::{Rule, Scene};
use crate::trial::Context;

/// Writes the samples down, and fails on FAIL. INCONCLUSIVE is for the verdict to say: a busy
/// machine must not turn a test red.
///
/// # Errors
/// FAIL, where the rule decides here; or evidence that cannot be written.
pub fn judge(
    context: &Context,
    rule: &Rule,
    operations_per_round: usize,
    (a, b): (Side, Side),
    rounds: Vec<Round>,
) -> Result<(), Failure> {
    let bound = rule.at(Scene { place: context.place(), emulated: context.emulated() });
    let measurement = Measurement {
        trial: context.trial().to_owned(),
        rule: rule.id.to_owned(),
        threshold: bound.threshold,
        decides: bound.decides,
        operations_per_round,
        warmups: PROTOCOL.warmups,
        a,
        b,
        rounds,
    };
    let (ratio, counted) = (measurement.ratio(), measurement.counted().len());
    context.measurement(measurement)?;
    let Some(ratio) = ratio else {
        crate::fail!("{}: {} rounds are too few for a bound", rule.title, counted);
    };
    let outcome = ratio.outcome(bound.threshold);
    println!(
        "{}: {:.3} [{:.3}, {:.3}] against {}: {outcome:?}",
        rule.title, ratio.estimate, ratio.lower, ratio.upper, bound.threshold
    );
    require!(
        outcome != Outcome::Fail || !bound.decides,
        "{}: {:.3}, at most {:.3}, is below {}",
        rule.title,
        ratio.estimate,
        ratio.upper,
        bound.threshold
    );
    Ok(())
}
