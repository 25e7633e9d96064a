//! The frame of every measuring trial: plan, rounds, checks, the record, and the ratio.

mod forecast;

use std::env;
use std::time::{Duration, Instant};

use evidence::clock::Clock;
use evidence::protocol::{PROTOCOL, Protocol, SLOWED_BY};
use evidence::stats::{LOOKS, Outcome};
use evidence::thresholds::{Bound, Rule, RuleScene};
use evidence::{CutShort, Measurement, Round, Side};
use machine::clock;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::contender::Contender;
use serde_json::json;
use verdict::Decision;

use crate::trial::Context;

pub use forecast::{Coming, Forecast};

/// Environment variable: how many of the preset looks a measurement may take (default: all). Tests
/// of the suite itself take one, and reach INCONCLUSIVE sooner.
pub const LOOKS_VARIABLE: &str = "VEXFS_VALIDATION_LOOKS";

/// The name of the fact that holds a trial's forecasts.
const FORECAST: &str = "what the looks will cost and can resolve";

/// Further looks leave this fraction (1/3) of the trial's time for what comes after them.
const KEPT_FREE: u32 = 3;

/// One pass: the protocol, once, on all four sides.
pub struct Pass {
    /// The rounds, warm-ups first.
    pub rounds: Vec<Round>,
    /// Rounds that were disturbed and repeated.
    pub disturbed: Vec<Round>,
    /// A's description after the pass.
    pub a: Side,
    /// B's description after the pass.
    pub b: Side,
}

/// Measures pass after pass until a preset look decides, records the samples, and fails on FAIL.
/// INCONCLUSIVE is left to the verdict: a busy machine must not turn a test red.
///
/// # Errors
/// FAIL, if the rule decides here; a pass that fails; or evidence that cannot be written.
pub fn judge(
    context: &Context,
    rule: &Rule,
    operations_per_round: usize,
    pass: impl FnMut(&PassProgress<'_>) -> Result<Pass, Failure>,
) -> Result<(), Failure> {
    let clock = clock::here()?;
    let bound = bound_here(context, rule)?;
    // On the instruction clock rounds hardly differ, so more of them add nothing. A ratio that
    // decides nothing is not worth more looks either.
    let looks = if clock == Clock::Instructions || !bound.decides { 1 } else { looks_allowed()? };
    let until = context.ends().map(|ends| ends - context.limit().unwrap_or_default() / KEPT_FREE);
    let subject = RatioSubject { rule: rule.id, trial: context.trial(), bound, clock, until };
    let tell = |forecast: &Forecast| {
        println!("{}: {forecast}", rule.title);
        context.fact(FORECAST, json!({ "rule": rule.id, "forecast": forecast }))?;
        first_look_fits(forecast, context.ends()).context(rule.title)
    };
    let measurement = measure(&subject, operations_per_round, looks, &tell, pass)?;
    let decision = Decision::by(rule, context.emulated(), &measurement);
    let (disturbed, cut_short) = (measurement.disturbed.len(), measurement.cut_short);
    context.measurement(measurement)?;
    let decision = decision.map_err(Failure::new).context(rule.title)?;
    println!("{}, {}: {decision}", rule.title, clock.name());
    if let Some(cut_short) = cut_short {
        println!("{}: {cut_short}", rule.title);
    }
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

/// What is measured, in the terms of the evidence.
#[derive(Debug, Clone, Copy)]
pub struct RatioSubject<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// The trial's name.
    pub trial: &'a str,
    /// The threshold for the ratio.
    pub bound: Bound,
    /// The clock that times are taken from.
    pub clock: Clock,
    /// All looks but the first must be over by then.
    pub until: Option<Instant>,
}

/// Records a forecast, and refuses one that cannot be kept.
pub type Tell<'a> = dyn Fn(&Forecast) -> Result<(), Failure> + 'a;

/// A pass in progress.
pub struct PassProgress<'a> {
    /// Its number, from 0.
    pub number: usize,
    looks: usize,
    tell: &'a Tell<'a>,
}

impl PassProgress<'_> {
    /// Must be called after each round. After the warm-up rounds of the first pass it records the
    /// forecast.
    ///
    /// # Errors
    /// The forecast cannot be recorded or kept.
    pub fn seen(&self, rounds: &[Round]) -> Result<(), Failure> {
        if self.number > 0 || rounds.len() != PROTOCOL.warmups {
            return Ok(());
        }
        Forecast::of(rounds, self.looks).map_or(Ok(()), |forecast| (self.tell)(&forecast))
    }
}

/// Measures pass after pass until one of the first `looks` decides, or until the next look would
/// not end in time (its passes are expected to take as long as those before).
///
/// # Errors
/// The first pass that fails.
pub fn measure(
    subject: &RatioSubject<'_>,
    operations_per_round: usize,
    looks: usize,
    tell: &Tell<'_>,
    mut pass: impl FnMut(&PassProgress<'_>) -> Result<Pass, Failure>,
) -> Result<Measurement, Failure> {
    let began = Instant::now();
    let Pass { rounds, disturbed, a, b } = pass(&PassProgress { number: 0, looks, tell })?;
    let RatioSubject { rule, trial, bound, clock, until } = *subject;
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
        cut_short: None,
    };
    for look in &LOOKS[1..looks] {
        if Decision::of(&measurement).is_ok_and(|decision| decision.is_final()) {
            break;
        }
        let done = measurement.passes.len();
        let to_come = look.rounds.div_ceil(PROTOCOL.runs) - done;
        let due = began.elapsed().mul_f64(to_come as f64 / done as f64);
        measurement.cut_short = until.and_then(|until| too_long(look.rounds, due, until));
        if measurement.cut_short.is_some() {
            break;
        }
        while measurement.passes.len() * PROTOCOL.runs < look.rounds {
            let Pass { rounds, disturbed, a, b } =
                pass(&PassProgress { number: measurement.passes.len(), looks, tell })?;
            measurement.passes.push(rounds);
            measurement.disturbed.extend(disturbed);
            // Our worst recall and the other side's best one count.
            measurement.a = Side { recall: least(measurement.a.recall, a.recall), ..a };
            measurement.b = Side { recall: most(measurement.b.recall, b.recall), ..b };
        }
    }
    Ok(measurement)
}

/// Checks that the first look will be over when the trial's time `ends`: whoever is stopped in the
/// middle of it has no numbers, and learns no reason.
fn first_look_fits(forecast: &Forecast, ends: Option<Instant>) -> Result<(), Failure> {
    let (Some(first), Some(ends)) = (forecast.looks.first(), ends) else { return Ok(()) };
    let due = Duration::from_secs_f64(first.seconds);
    let Some(CutShort { rounds, seconds, left }) = too_long(first.rounds, due, ends) else {
        return Ok(());
    };
    Err(Failure::undecided(format!(
        "its first look, {rounds} rounds of {:.3} s, would take {seconds:.0} s, and {left:.0} s of \
         the trial's time are left: nothing was measured; run it again when the machine does less \
         beside it, or on a faster one",
        forecast.round_seconds
    )))
}

fn too_long(rounds: usize, due: Duration, until: Instant) -> Option<CutShort> {
    let left = until.saturating_duration_since(Instant::now());
    let (seconds, left_seconds) = (due.as_secs_f64(), left.as_secs_f64());
    (due > left).then_some(CutShort { rounds, seconds, left: left_seconds })
}

/// The threshold for a ratio in this trial's place, on this CPU and clock.
///
/// # Errors
/// The launcher's note on the clock cannot be read.
pub fn bound_here(context: &Context, rule: &Rule) -> Result<Bound, Failure> {
    let (place, emulated, clock) = (context.place(), context.emulated(), clock::here()?);
    Ok(rule.at(RuleScene { place, emulated, clock }))
}

/// How many queries of the same stream, beyond the protocol's, recall is also measured on. The
/// queries that open the turns of a pass come after them ([`measure::contender::Unseen`]). An
/// emulated guest answers only some tens of queries a second, so it gets fewer.
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

/// Describes one side of a ratio; its contender's description goes under the name `what`.
pub(crate) fn side(
    what: &str,
    contender: &mut dyn Contender,
    recall: Option<f64>,
    counted: &str,
    protocol: &Protocol,
) -> Result<Side, Failure> {
    Ok(Side {
        contender: contender.name().to_owned(),
        recall,
        description: json!({
            what: contender.describe()?,
            "protocol": protocol,
            "time": counted,
        }),
    })
}

#[cfg(test)]
mod tests;
