//! What every measuring trial does: plan, rounds, checks, the record, and the ratio.

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

/// Environment variable: how many of the preset looks a measurement may take, all of them where it
/// is not set. A test of the suite itself is content with the first, and says INCONCLUSIVE sooner.
pub const LOOKS_VARIABLE: &str = "VEXFS_VALIDATION_LOOKS";

/// The fact that a trial's forecasts are in the evidence as.
const FORECAST: &str = "what the looks will cost and can resolve";

/// Further looks leave one part in this many of the trial's time for what comes after them.
const KEPT_FREE: u32 = 3;

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
    pass: impl FnMut(&PassProgress<'_>) -> Result<Pass, Failure>,
) -> Result<(), Failure> {
    let clock = clock::here()?;
    let bound = bound_here(context, rule)?;
    // Rounds on the instruction clock are as good as equal: more of them say no more. What decides
    // nothing is not worth the time.
    let looks = if clock == Clock::Instructions || !bound.decides { 1 } else { looks_allowed()? };
    let until = context.ends().map(|ends| ends - context.limit().unwrap_or_default() / KEPT_FREE);
    let subject = RatioSubject { rule: rule.id, trial: context.trial(), bound, clock, until };
    let tell = |forecast: &Forecast| {
        println!("{}: {forecast}", rule.title);
        context.fact(FORECAST, json!({ "rule": rule.id, "forecast": forecast }))
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

/// What is measured, in the evidence's terms.
#[derive(Debug, Clone, Copy)]
pub struct RatioSubject<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// The trial's.
    pub trial: &'a str,
    /// What the ratio is held against.
    pub bound: Bound,
    /// What times count.
    pub clock: Clock,
    /// When no look may still be going on, but the first.
    pub until: Option<Instant>,
}

/// Writes a forecast down.
pub type Tell<'a> = dyn Fn(&Forecast) -> Result<(), Failure> + 'a;

/// A pass that is going on.
pub struct PassProgress<'a> {
    /// Its number, from 0.
    pub number: usize,
    looks: usize,
    tell: &'a Tell<'a>,
}

impl PassProgress<'_> {
    /// Must be called after each round. After the warm-up rounds of the first pass it writes down the
    /// forecast.
    pub fn seen(&self, rounds: &[Round]) -> Result<(), Failure> {
        if self.number > 0 || rounds.len() != PROTOCOL.warmups {
            return Ok(());
        }
        Forecast::of(rounds, self.looks).map_or(Ok(()), |forecast| (self.tell)(&forecast))
    }
}

/// Measures pass after pass until one of the first `looks` decides, or the next would not end in time:
/// it is expected to take as long as those before it.
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
            // The worst recall of ours and the best of the other's count.
            measurement.a = Side { recall: least(measurement.a.recall, a.recall), ..a };
            measurement.b = Side { recall: most(measurement.b.recall, b.recall), ..b };
        }
    }
    Ok(measurement)
}

fn too_long(rounds: usize, due: Duration, until: Instant) -> Option<CutShort> {
    let left = until.saturating_duration_since(Instant::now());
    let (seconds, left_seconds) = (due.as_secs_f64(), left.as_secs_f64());
    (due > left).then_some(CutShort { rounds, seconds, left: left_seconds })
}

/// What a ratio is held against in the trial's place.
///
/// # Errors
/// The launcher's word on the clock cannot be read.
pub fn bound_here(context: &Context, rule: &Rule) -> Result<Bound, Failure> {
    let (place, emulated, clock) = (context.place(), context.emulated(), clock::here()?);
    Ok(rule.at(RuleScene { place, emulated, clock }))
}

/// Queries of the same stream beside the protocol's, on which recall is taken, too; what opens the
/// turns of a pass comes behind them ([`measure::contender::Unseen`]). An emulated guest answers some
/// tens of them a second, and is asked fewer.
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

/// A side of a ratio, which describes itself under the name `what`.
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
