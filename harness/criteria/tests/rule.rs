//! The rule against known distributions and an independent implementation, and what it does to
//! systems whose ratio is known: how often it errs, how often it decides.

use criteria::ratio::{Pass, Subject, measure};
use evidence::clock::Clock;
use evidence::protocol::PROTOCOL;
use evidence::protocol::{Arm, ORDERS, controlled_order_of};
use evidence::stats::{ALPHA_OF_LOOKS, LOOKS, Outcome, look, order_statistic};
use evidence::thresholds::Bound;
use evidence::{Controls, Measurement, Round, Side};
use rand_mt::Mt;
use serde_json::Value;
use verdict::Decision;

/// P(Bin(n, 1/2) <= k) by adding a coin at a time.
fn binomial_at_most(n: usize, k: usize) -> f64 {
    let mut heads = vec![1.0];
    for _ in 0..n {
        let mut next = vec![0.0; heads.len() + 1];
        for (at, probability) in heads.iter().enumerate() {
            next[at] += probability / 2.0;
            next[at + 1] += probability / 2.0;
        }
        heads = next;
    }
    heads[..=k].iter().sum()
}

#[test]
fn ranks_are_those_of_an_independent_implementation() {
    for n in (6..=60).chain([100, 200, 500]) {
        for alpha in [0.05, 0.025, 0.021, 0.014, 0.015] {
            let expected = (0..n).take_while(|&k| binomial_at_most(n, k) <= alpha).last();
            let found = order_statistic(n, alpha);
            assert_eq!(found.map(|(rank, _)| rank - 1), expected, "n = {n}, alpha = {alpha}");
            if let (Some((_, error)), Some(k)) = (found, expected) {
                assert!((error - binomial_at_most(n, k)).abs() < 1e-12);
            }
        }
    }
}

/// Uniform and normal numbers.
struct Random(Mt);

impl Random {
    fn uniform(&mut self) -> f64 {
        (f64::from(self.0.next_u32()) + 0.5) / 4_294_967_296.0
    }

    /// Box and Muller, 1958.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

type Draw = fn(&mut Random) -> f64;

/// Distributions whose median is 0.
const DISTRIBUTIONS: [(&str, Draw); 4] = [
    ("normal", Random::normal),
    ("exponential", |random| -random.uniform().ln() - std::f64::consts::LN_2),
    ("Cauchy", |random| (std::f64::consts::PI * (random.uniform() - 0.5)).tan()),
    // A machine that is disturbed now and then, always to the same side.
    ("disturbed", |random| {
        let here = random.normal();
        if here > 0.0 && random.uniform() < 0.3 { here + 20.0 } else { here }
    }),
];

#[test]
fn bounds_miss_the_median_of_known_distributions_as_often_as_stated() {
    const RUNS: usize = 20_000;
    for (name, draw) in DISTRIBUTIONS {
        let mut random = Random(Mt::new(7));
        let (mut above, mut below) = (0, 0);
        for _ in 0..RUNS {
            let values: Vec<f64> = (0..20).map(|_| draw(&mut random)).collect();
            let ratio = look(&values, LOOKS[0], 1.0).unwrap().ratio;
            above += usize::from(ratio.lower > 1.0);
            below += usize::from(ratio.upper < 1.0);
        }
        for missed in [above, below] {
            // Nominal 0.0207; four standard errors of the simulation are 0.004.
            let rate = missed as f64 / RUNS as f64;
            assert!((rate - 0.0207).abs() < 0.004, "{name}: {rate}");
        }
    }
}

/// ln of times that drift: an AR(1) process with the autocorrelation seen between neighbouring
/// measurements on shared machines, and a standard deviation of `sd`.
struct Machine {
    random: Random,
    state: f64,
    sd: f64,
}

const AUTOCORRELATION: f64 = 0.7;

impl Machine {
    fn new(seed: u32, sd: f64) -> Self {
        let mut random = Random(Mt::new(seed));
        let state = random.normal();
        Machine { random, state, sd }
    }

    fn next(&mut self) -> f64 {
        let fresh = (1.0 - AUTOCORRELATION * AUTOCORRELATION).sqrt() * self.random.normal();
        self.state = AUTOCORRELATION * self.state + fresh;
        self.sd * self.state
    }

    /// A round of four sides in the order that measurements take, where A is `ratio` times as fast
    /// as B. Its controls hold, so that it is the rule that decides.
    fn round(&mut self, index: usize, ratio: f64) -> Round {
        let mut times = [0.0; Arm::ALL.len()];
        for arm in ORDERS[index % ORDERS.len()] {
            times[arm as usize] = self.next();
        }
        let nanoseconds = |log: f64| vec![(1e9 * log.exp()) as u64];
        let a = times[Arm::A as usize];
        Round {
            order: controlled_order_of(index),
            a_ns: nanoseconds(a),
            b_ns: nanoseconds(ratio.ln() + times[Arm::B as usize]),
            controls: Some(Controls {
                again_ns: nanoseconds(a),
                slowed_ns: nanoseconds(a + 1.05f64.ln()),
                ..Controls::default()
            }),
            noise: None,
        }
    }

    /// Measures until a look decides, as trials do.
    fn measure(&mut self, ratio: f64, threshold: f64) -> Measurement {
        let bound = Bound { threshold, strictly: false, decides: true, reason: "" };
        let subject = Subject { rule: "x", trial: "x", bound, clock: Clock::Wall };
        let side = || Side { contender: "x".to_owned(), recall: None, description: Value::Null };
        let pass = |_| {
            let rounds = (0..PROTOCOL.rounds()).map(|index| self.round(index, ratio)).collect();
            Ok(Pass { rounds, disturbed: vec![], a: side(), b: side() })
        };
        measure(&subject, 1, LOOKS.len(), pass).unwrap()
    }
}

/// How often a measurement ends in `outcome`.
fn rate(outcome: Outcome, ratio: f64, threshold: f64, sd: f64, runs: u32) -> f64 {
    let ended = (0..runs).filter(|&seed| {
        let measured = Machine::new(seed, sd).measure(ratio, threshold);
        Decision::of(&measured).unwrap().outcome() == outcome
    });
    ended.count() as f64 / f64::from(runs)
}

#[test]
fn equal_systems_pass_falsely_no_more_often_than_stated() {
    // Three standard errors of the simulation are 0.0065.
    let passed = rate(Outcome::Pass, 1.0, 1.0, 0.1, 10_000);
    assert!(passed <= ALPHA_OF_LOOKS, "{passed}");
    let failed = rate(Outcome::Fail, 1.0, 1.0, 0.1, 10_000);
    assert!(failed <= ALPHA_OF_LOOKS, "{failed}");
    println!("equal systems: {passed} pass, {failed} fail, over all looks");
}

#[test]
fn what_is_five_percent_faster_is_found() {
    // Round to round 10 % of noise in each time, as on a shared machine; and 3 %, a quiet one.
    let (busy, quiet) =
        (rate(Outcome::Pass, 1.05, 1.0, 0.1, 2_000), rate(Outcome::Pass, 1.05, 1.0, 0.03, 2_000));
    println!("5 % is found in {busy} (10 % noise) and {quiet} (3 % noise)");
    assert!(busy > 0.95 && quiet > 0.99, "{busy} {quiet}");
}

#[test]
fn looking_again_decides_what_one_look_leaves_open() {
    let first = (0..2_000)
        .filter(|&seed| Machine::new(seed, 0.1).measure(1.05, 1.0).passes.len() == 1)
        .count();
    assert!((200..1_900).contains(&first), "{first} of 2,000 were decided at the first look");
}
