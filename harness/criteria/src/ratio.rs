//! What every measuring trial does with its rounds.

use std::env;

use evidence::clock::Clock;
use evidence::protocol::PROTOCOL;
use evidence::protocol::SLOWED_BY;
use evidence::stats::{LOOKS, Outcome};
use evidence::thresholds::{Bound, Rule, Scene};
use evidence::{Measurement, Round, Side};
use machine::clock;
use machine::failure::{Failure, While};
use machine::require;
use verdict::Decision;

use crate::trial::Context;

/// Environment variable: how many of the preset looks a measurement may take, all of them where it
/// is not set. A test of the suite itself is content with the first, and says INCONCLUSIVE sooner.
pub const LOOKS_VARIABLE: &str = "VEXFS_VALIDATION_LOOKS";

/// The protocol, once, on all four sides.
pub struct Pass {
    /// Its rounds, warm-ups first.
    pub rounds: Vec<Round>,
    /// Rounds that were disturbed and done again.
    pub disturbed: Vec<Round>,
    /// A, after it.
    pub a: Side,
    /// B, after it.
    pub b: Side,
}

/// Measures pass after pass until a preset look decides, writes the samples down, and fails on
/// FAIL. INCONCLUSIVE is for the verdict to say: a busy machine must not turn a test red.
///
/// # Errors
/// FAIL, where the rule decides here; a pass that fails; or evidence that cannot be written.
pub fn judge(
    context: &Context,
    rule: &Rule,
    operations_per_round: usize,
    pass: impl FnMut(usize) -> Result<Pass, Failure>,
) -> Result<(), Failure> {
    let clock = clock::here()?;
    let bound = bound_here(context, rule)?;
    // Rounds on the instruction clock are as good as equal: more of them say no more. What decides
    // nothing is not worth the time.
    let looks = if clock == Clock::Instructions || !bound.decides { 1 } else { looks_allowed()? };
    let subject = Subject { rule: rule.id, trial: context.trial(), bound, clock };
    let measurement = measure(&subject, operations_per_round, looks, pass)?;
    let decision = Decision::by(rule, context.emulated(), &measurement);
    let disturbed = measurement.disturbed.len();
    context.measurement(measurement)?;
    let decision = decision.map_err(Failure::new).when(rule.title)?;
    println!("{}, {}: {decision}", rule.title, clock.name());
    if disturbed > 0 {
        println!("{}: {disturbed} rounds were disturbed and done again", rule.title);
    }
    require!(
        decision.outcome() != Outcome::Fail || !bound.decides,
        "{}: {:.3}, at most {:.3}, is below {}",
        rule.title,
        decision.ratio.estimate,
        decision.ratio.upper,
        bound.threshold
    );
    Ok(())
}

/// What is measured, in the evidence's terms.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// The trial's.
    pub trial: &'a str,
    /// What the ratio is held against.
    pub bound: Bound,
    /// What times count.
    pub clock: Clock,
}

/// Measures pass after pass until one of the first `looks` decides; `pass` is given its number.
///
/// # Errors
/// The first pass that fails.
pub fn measure(
    subject: &Subject<'_>,
    operations_per_round: usize,
    looks: usize,
    mut pass: impl FnMut(usize) -> Result<Pass, Failure>,
) -> Result<Measurement, Failure> {
    let Pass { rounds, disturbed, a, b } = pass(0)?;
    let Subject { rule, trial, bound, clock } = *subject;
    let mut measurement = Measurement {
        trial: trial.to_owned(),
        rule: rule.to_owned(),
        threshold: bound.threshold,
        strictly: bound.strictly,
        decides: bound.decides,
        clock,
        operations_per_round,
        warmups: PROTOCOL.warmups,
        slowed_by: SLOWED_BY,
        a,
        b,
        passes: vec![rounds],
        disturbed,
    };
    for look in &LOOKS[1..looks] {
        if Decision::of(&measurement).is_ok_and(|decision| decision.is_final()) {
            break;
        }
        while measurement.passes.len() * PROTOCOL.runs < look.rounds {
            let Pass { rounds, disturbed, a, b } = pass(measurement.passes.len())?;
            measurement.passes.push(rounds);
            measurement.disturbed.extend(disturbed);
            // The worst recall of ours and the best of the other's count.
            measurement.a = Side { recall: least(measurement.a.recall, a.recall), ..a };
            measurement.b = Side { recall: most(measurement.b.recall, b.recall), ..b };
        }
    }
    Ok(measurement)
}

/// What a ratio is held against in the trial's place.
///
/// # Errors
/// The launcher's word on the clock cannot be read.
pub fn bound_here(context: &Context, rule: &Rule) -> Result<Bound, Failure> {
    let (place, emulated, clock) = (context.place(), context.emulated(), clock::here()?);
    Ok(rule.at(Scene { place, emulated, clock }))
}

/// Queries of the same stream beside the protocol's, on which recall is taken, too; what opens the
/// turns of a pass comes behind them ([`measure::contender::Unseen`]). An emulated guest answers some
/// tens of them a second, and is asked fewer.
#[must_use]
pub fn further_queries(context: &Context) -> usize {
    if context.emulated() { 400 } else { 1_000 }
}

fn least(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one?.min(other?))
}

fn most(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one?.max(other?))
}

fn looks_allowed() -> Result<usize, Failure> {
    let Some(text) = env::var_os(LOOKS_VARIABLE) else { return Ok(LOOKS.len()) };
    let looks = text.to_str().and_then(|text| text.parse().ok());
    looks.filter(|looks| (1..=LOOKS.len()).contains(looks)).ok_or_else(|| {
        Failure::new(format!(
            "{LOOKS_VARIABLE}={text:?}; give 1 to {}, or leave it out",
            LOOKS.len()
        ))
    })
}

#[cfg(test)]
mod tests;
