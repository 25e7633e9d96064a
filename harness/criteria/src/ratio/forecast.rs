//! Forecasts, from its warm-up, what a measurement will cost and what it can resolve.

use std::fmt;

use evidence::Round;
use evidence::protocol::PROTOCOL;
use evidence::stats::{LOOKS, Look, median, resolvable};
use serde::Serialize;

/// What the warm-up of the first pass tells about the rounds to come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Seconds of a round, the median.
    pub round_seconds: f64,
    /// Standard deviation of ln(A/B) from round to round, estimated from the median absolute
    /// deviation.
    pub spread: f64,
    /// The looks that may be taken.
    pub looks: Vec<Coming>,
}

/// A look to come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coming {
    /// The look is taken after this many rounds, without warm-ups.
    pub rounds: usize,
    /// Seconds until the look, for the rounds alone.
    pub seconds: f64,
    /// The look can roughly tell a ratio from its threshold if the ratio is at least this many
    /// times the threshold, or at most the inverse of that.
    pub resolves: f64,
}

impl Forecast {
    /// Forecasts the first `looks` from the rounds of a warm-up; `None` unless they are timed and
    /// have controls.
    pub fn of(warmups: &[Round], looks: usize) -> Option<Forecast> {
        let seconds = |round: &Round| Some(round.noise?.wall_us as f64 / 1e6);
        let round_seconds = median(&warmups.iter().filter_map(seconds).collect::<Vec<_>>())?;
        let ratios: Vec<f64> = warmups.iter().map(Round::log_ratio).collect();
        let control = |round: &Round| Some(round.controls.as_ref()?.log_equal(&round.a_ns));
        let controls: Vec<f64> = warmups.iter().filter_map(control).collect();
        let (spread, of_control) = (spread(&ratios)?, spread(&controls)?);
        let coming = |look: &Look| -> Option<Coming> {
            let passes = look.rounds.div_ceil(PROTOCOL.runs);
            let rounds = passes * PROTOCOL.rounds() - warmups.len();
            Some(Coming {
                rounds: look.rounds,
                seconds: rounds as f64 * round_seconds,
                resolves: resolvable(spread, of_control, *look)?,
            })
        };
        let looks = LOOKS.iter().take(looks).map(coming).collect::<Option<_>>()?;
        Some(Forecast { round_seconds, spread, looks })
    }
}

/// Standard deviation of the normal distribution with the same median absolute deviation. One
/// outlier among the five warm-up rounds, as the first round is, does not distort it.
fn spread(logs: &[f64]) -> Option<f64> {
    let middle = median(logs)?;
    let deviations: Vec<f64> = logs.iter().map(|log| (log - middle).abs()).collect();
    Some(1.4826 * median(&deviations)?)
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forecast { round_seconds, spread, looks } = self;
        write!(
            f,
            "warm-up: a round takes {round_seconds:.3} s, its ratio varies by {:.1} %",
            100.0 * (spread.exp() - 1.0)
        )?;
        for Coming { rounds, seconds, resolves } in looks {
            write!(
                f,
                "; {rounds} rounds take {seconds:.0} s and resolve {resolves:.2} times the threshold"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use evidence::noise::Noise;
    use evidence::{Controls, Order};

    use super::*;

    fn round(b: u64, again: u64) -> Round {
        Round {
            order: Order::AB,
            a_ns: vec![1_000],
            b_ns: vec![b],
            controls: Some(Controls { again_ns: vec![again], ..Controls::default() }),
            noise: Some(Noise { wall_us: 2_000_000, waiting_us: None, stolen_us: None }),
        }
    }

    #[test]
    fn five_rounds_say_what_two_hundred_will_cost() {
        // The first round is cold, and does not affect the spread.
        let warmups = [
            round(9_000, 1_000),
            round(2_000, 1_100),
            round(2_200, 1_000),
            round(2_400, 900),
            round(2_200, 1_000),
        ];
        let forecast = Forecast::of(&warmups, 3).unwrap();
        assert!((forecast.round_seconds - 2.0).abs() < 1e-9);
        assert!(forecast.spread > 0.1 && forecast.spread < 0.2, "{forecast:?}");
        let seconds: Vec<f64> = forecast.looks.iter().map(|look| look.seconds).collect();
        assert_eq!(seconds, [40.0, 140.0, 490.0]);
        assert!(forecast.looks.is_sorted_by(|one, next| one.resolves > next.resolves));
        let said = forecast.to_string();
        assert!(said.contains("a round takes 2.000 s, its ratio varies by 1"), "{said}");
        assert!(said.contains("; 20 rounds take 40 s and resolve 1."), "{said}");
        assert_eq!(Forecast::of(&warmups, 1).unwrap().looks.len(), 1);
    }

    #[test]
    fn rounds_without_controls_say_nothing() {
        let bare = Round { controls: None, ..round(2_000, 1_000) };
        assert_eq!(Forecast::of(&[bare], 3), None);
        assert_eq!(Forecast::of(&[], 3), None);
    }
}
