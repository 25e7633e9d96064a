//! Tests of going on over looks, and of a store that gains by answering from memory.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use evidence::Controls;
use evidence::protocol::{Arm, Protocol, controlled_order_of};
use measure::contender::{
    Answers, Contender, InProcess, Insertion, Sides, Unseen, fill, search_rounds,
};
use measure::dataset::Dataset;
use measure::oracle::Oracle;
use measure::rounds::{Turn, controlled_rounds};
use serde_json::{Value, json};
use vexfs_uapi::client::Declaration;

use super::*;

const SUBJECT: RatioSubject<'_> = RatioSubject {
    rule: "x",
    trial: "x",
    bound: Bound { threshold: 1.0, strictly: false, decides: true, reason: "" },
    clock: Clock::Wall,
    until: None,
};

fn untold(_: &Forecast) -> Result<(), Failure> {
    Ok(())
}

/// The protocol's rounds on small data.
const SMALL: Protocol =
    Protocol { rows: 100, dim: 4, queries: 5, k: 3, insertion_batch: 4, ..PROTOCOL };

/// A store that remembers queries. It claims 1 ms for a search, and 0.1 ms for an answer from
/// memory.
struct Remembering {
    engine: InProcess,
    known: Rc<RefCell<HashSet<Vec<u32>>>>,
    slower: f64,
}

impl Remembering {
    fn new(known: &Rc<RefCell<HashSet<Vec<u32>>>>, slower: f64) -> Self {
        let engine = InProcess::new(&Declaration::flat(SMALL.dim as u32)).unwrap();
        Remembering { engine, known: Rc::clone(known), slower }
    }
}

impl Contender for Remembering {
    fn name(&self) -> &str {
        "remembering"
    }
    fn describe(&mut self) -> Result<Value, Failure> {
        self.engine.describe()
    }
    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        self.engine.insert(first_row, rows)
    }
    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        self.engine.vectors()
    }
    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        let mut answers = self.engine.search(queries, k)?;
        for (query, answer) in queries.chunks(SMALL.dim).zip(&mut answers.answers) {
            let is_new =
                self.known.borrow_mut().insert(query.iter().map(|x| x.to_bits()).collect());
            let took = Duration::from_micros(if is_new { 1000 } else { 100 });
            answer.took = took.mul_f64(self.slower);
        }
        answers.wall = answers.answers.iter().map(|answer| answer.took).sum();
        Ok(answers)
    }
}

#[test]
fn what_answers_from_memory_is_found_after_any_number_of_passes() {
    let dataset = Dataset::generate(9, SMALL.rows, SMALL.dim, SMALL.queries);
    let oracle = Oracle::new(&dataset, &dataset.queries, SMALL.k);
    let mut unseen = Unseen::behind(&dataset, 0);
    // A and its copies share one memory, as files of one daemon may.
    let (ours, theirs) = (Rc::default(), Rc::default());
    let mut a = Remembering::new(&ours, 1.0);
    let mut b = Remembering::new(&theirs, 3.0);
    let mut again = Remembering::new(&ours, 0.999);
    let mut slowed = Remembering::new(&ours, 1.05);
    for one in [&mut a, &mut b, &mut again, &mut slowed] {
        fill(one, &dataset, &SMALL).unwrap();
    }
    let measured = measure(&SUBJECT, SMALL.queries, 2, &untold, |_| {
        let sides = Sides {
            a: &mut a,
            b: &mut b,
            again: &mut again,
            slowed: &mut slowed,
            copies_are_equal: true,
        };
        let done = search_rounds(sides, &oracle, &mut unseen, &SMALL, &mut |_| Ok(()))?;
        let side = side(Some(done.a.recall()));
        Ok(Pass { rounds: done.rounds, disturbed: done.disturbed, a: side.clone(), b: side })
    })
    .unwrap();
    assert_eq!(measured.passes.len(), 3);
    let decision = Decision::of(&measured).unwrap();
    assert_eq!(decision.outcome(), Outcome::Inconclusive);
    let words = "A takes 10.0 times as long (at least 10.0) for queries that it was never asked";
    assert!(decision.to_string().contains(words), "{decision}");
}

fn side(recall: Option<f64>) -> Side {
    Side { contender: "x".to_owned(), recall, description: json!({}) }
}

/// A pass in which A takes 1000 ns a round, and B what `b_ns` gives for the round's number.
fn pass(b_ns: fn(usize) -> u64, recalls: (Option<f64>, Option<f64>)) -> Pass {
    let round = |index| Round {
        order: controlled_order_of(index),
        a_ns: vec![1000],
        b_ns: vec![b_ns(index)],
        controls: Some(Controls {
            again_ns: vec![1000 - index as u64 % 2],
            slowed_ns: vec![1050],
            ..Controls::default()
        }),
        noise: None,
    };
    let rounds = (0..PROTOCOL.rounds()).map(round).collect();
    Pass { rounds, disturbed: vec![], a: side(recalls.0), b: side(recalls.1) }
}

#[rstest::rstest]
#[case::decided(|_| 2000, 3, 1)]
#[case::one_look(|index| 900 + 200 * (index as u64 % 2), 1, 1)]
#[case::two_looks(|index| 900 + 200 * (index as u64 % 2), 2, 3)]
#[case::all_looks(|index| 900 + 200 * (index as u64 % 2), 3, 10)]
fn passes_go_on_until_a_look_decides(
    #[case] b_ns: fn(usize) -> u64,
    #[case] looks: usize,
    #[case] passes: usize,
) {
    let mut numbers = Vec::new();
    let measured = measure(&SUBJECT, 1, looks, &untold, |pass_of| {
        numbers.push(pass_of.number);
        Ok(pass(b_ns, (None, None)))
    });
    let measured = measured.unwrap();
    assert_eq!(numbers, (0..passes).collect::<Vec<_>>());
    assert_eq!(measured.passes.len(), passes);
    assert_eq!((measured.a.recall, measured.b.recall), (None, None));
    let decided = Decision::of(&measured).unwrap().is_final();
    assert_eq!(decided, passes == 1 && looks > 1);
}

/// A trial without time left stops at the look that it has; a trial with time left goes on.
#[rstest::rstest]
#[case::no_limit(None, 3, None)]
#[case::time_enough(Some(600), 3, None)]
#[case::time_is_over(Some(0), 1, Some(60))]
fn a_look_that_does_not_fit_is_not_begun(
    #[case] seconds: Option<u64>,
    #[case] passes: usize,
    #[case] cut: Option<usize>,
) {
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let undecided = |index| 900 + 200 * (index as u64 % 2);
    let subject = RatioSubject { until, ..SUBJECT };
    let measured = measure(&subject, 1, 2, &untold, |_| Ok(pass(undecided, (None, None))));
    let measured = measured.unwrap();
    assert_eq!(measured.passes.len(), passes);
    assert_eq!(measured.cut_short.map(|one| one.rounds), cut);
    let said = measured.cut_short.map(|one| one.to_string()).unwrap_or_default();
    let words = "the look after 60 rounds was not begun: it takes 0 s more, and 0 s are left";
    assert!(said.is_empty() || said.starts_with(words), "{said}");
    assert_eq!(Decision::of(&measured).unwrap().outcome(), Outcome::Inconclusive);
}

/// The forecast is recorded once, after the first pass's warm-up and before its first counted
/// round.
#[test]
fn the_cost_is_forecast_before_the_first_look() {
    let told = RefCell::new(Vec::new());
    let done = RefCell::new(0);
    let tell = |forecast: &Forecast| {
        told.borrow_mut().push((*done.borrow(), forecast.looks.len()));
        Ok(())
    };
    measure(&SUBJECT, 1, 2, &tell, |progress| {
        let on = &mut |rounds: &[Round]| progress.seen(rounds);
        let made = controlled_rounds(PROTOCOL.rounds(), 0, on, |arm, index| {
            *done.borrow_mut() += usize::from(arm == Arm::A);
            let b = if index % 2 == 0 { 900 } else { 1100 };
            let nanoseconds = if arm == Arm::B { b } else { 1000 - arm as u64 % 2 };
            Ok(Turn::of(vec![Duration::from_nanos(nanoseconds)]))
        })?;
        let (a, b) = (side(None), side(None));
        Ok(Pass { rounds: made.rounds, disturbed: made.disturbed, a, b })
    })
    .unwrap();
    assert_eq!((told.into_inner(), done.into_inner()), (vec![(PROTOCOL.warmups, 2)], 75));
}

#[test]
fn our_worst_recall_and_the_others_best_count() {
    let recalls = [(Some(0.99), Some(0.97)), (Some(0.98), Some(0.96)), (Some(1.0), Some(0.98))];
    let undecided = |index| 900 + 200 * (index as u64 % 2);
    let measured = measure(&SUBJECT, 1, 2, &untold, |of| Ok(pass(undecided, recalls[of.number])));
    let measured = measured.unwrap();
    assert_eq!((measured.a.recall, measured.b.recall), (Some(0.98), Some(0.98)));
}

#[test]
fn a_pass_that_fails_ends_it() {
    let failed = measure(&SUBJECT, 1, 3, &untold, |pass_of| match pass_of.number {
        0 => Ok(pass(|index| 900 + 200 * (index as u64 % 2), (None, None))),
        _ => Err(Failure::new("driver died")),
    });
    assert_eq!(failed.unwrap_err().to_string(), "driver died");
}

/// The verdict decides on the very rounds that were measured.
#[test]
fn what_is_measured_is_decided_on() {
    let pass = |_: &PassProgress<'_>| {
        let done = controlled_rounds(PROTOCOL.rounds(), 0, &mut |_| Ok(()), |arm, index| {
            let nanoseconds = match arm {
                Arm::A => 1000,
                Arm::Again => 1000 - index as u64 % 2,
                Arm::B => 2000,
                Arm::Slowed => 1050,
            };
            Ok(Turn::of(vec![Duration::from_nanos(nanoseconds)]))
        })?;
        let side = Side { contender: "x".to_owned(), recall: None, description: json!({}) };
        let (rounds, disturbed) = (done.rounds, done.disturbed);
        Ok(Pass { rounds, disturbed, a: side.clone(), b: side })
    };
    let measurement = measure(&SUBJECT, 1, 1, &untold, pass).unwrap();
    let decision = Decision::of(&measurement).unwrap();
    assert_eq!((decision.outcome(), decision.controls_fail()), (Outcome::Pass, None));
}

#[test]
fn a_first_look_that_does_not_fit_is_not_begun() {
    let look = Coming { rounds: 20, seconds: 60.0, resolves: 2.0 };
    let forecast = Forecast { round_seconds: 3.0, spread: 0.1, looks: vec![look] };
    let within =
        |seconds| first_look_fits(&forecast, Some(Instant::now() + Duration::from_secs(seconds)));
    assert!(within(70).is_ok());
    assert!(first_look_fits(&forecast, None).is_ok());
    let failure = within(50).unwrap_err();
    assert!(failure.is_undecided());
    let said = failure.to_string();
    assert!(
        said.contains("20 rounds of 3.000 s, would take 60 s, and 50 s of the trial"),
        "{said}"
    );
    // A time that is over is no time, and no panic.
    let over = first_look_fits(&forecast, Instant::now().checked_sub(Duration::from_secs(1)));
    assert!(over.is_err());
}
