//! Rounds with honest sides, and with dishonest ones.

use std::time::Duration;

use evidence::Controls;
use evidence::protocol::{Arm, Metric, Protocol, UNSEEN_A_TURN};
use machine::failure::Failure;
use serde_json::Value;
use vexfs_uapi::client::Declaration;

use super::super::{Answer, Answers, Contender, InProcess, Insertion, Slowed};
use super::*;
use crate::dataset::Dataset;
use crate::oracle::Oracle;

const SMALL: Protocol = Protocol {
    rows: 80,
    dim: 6,
    seed: 5,
    queries: 7,
    k: 3,
    metric: Metric::L2,
    runs: 6,
    warmups: 2,
    insertion_batch: 10,
};

/// The engine, with a fault in its answers.
struct Faulty<C> {
    engine: C,
    fault: fn(&mut Answers),
}

impl<C: Contender> Contender for Faulty<C> {
    fn name(&self) -> &str {
        "faulty"
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
        (self.fault)(&mut answers);
        Ok(answers)
    }
}

fn engine() -> InProcess {
    InProcess::new(&Declaration::flat(SMALL.dim as u32)).unwrap()
}

fn dataset() -> Dataset {
    Dataset::generate(SMALL.seed, SMALL.rows, SMALL.dim, SMALL.queries)
}

fn searched(fault: fn(&mut Answers)) -> Result<SearchRounds, Failure> {
    let dataset = dataset();
    let mut four = Four::new(fault);
    for arm in Arm::ALL {
        fill(four.sides().of(arm), &dataset, &SMALL)?;
    }
    let oracle = Oracle::new(&dataset, &dataset.queries, SMALL.k);
    search_rounds(four.sides(), &oracle, &mut Unseen::behind(&dataset, 0), &SMALL, &mut |_| Ok(()))
}

/// The engine four times: A and its copies have a fault.
struct Four {
    a: Faulty<InProcess>,
    b: InProcess,
    again: Faulty<InProcess>,
    slowed: Faulty<Slowed<InProcess>>,
}

impl Four {
    fn new(fault: fn(&mut Answers)) -> Self {
        let faulty = || Faulty { engine: engine(), fault };
        let slowed = Faulty { engine: Slowed::new(engine(), SMALL.dim), fault };
        Four { a: faulty(), b: engine(), again: faulty(), slowed }
    }

    fn sides(&mut self) -> Sides<'_> {
        let Four { a, b, again, slowed } = self;
        Sides { a, b, again, slowed, copies_are_equal: true }
    }
}

#[test]
fn every_round_inserts_its_batch_on_both_sides() {
    let mut four = Four::new(|_| {});
    let done = insertion_rounds(four.sides(), &dataset(), &SMALL, &mut |_| Ok(())).unwrap();
    assert_eq!((done.a_found, done.b_found), (8, 8));
    assert_eq!((done.stored.len(), done.searchable.len()), (8, 8));
    for (stored, searchable) in done.stored.iter().zip(&done.searchable) {
        assert_eq!(stored.order, searchable.order);
        assert!(searchable.a_ns[0] > stored.a_ns[0] && searchable.b_ns[0] > stored.b_ns[0]);
    }
    assert_eq!(four.slowed.vectors().unwrap(), dataset().base);
}

#[test]
fn rows_that_are_not_searchable_at_once_are_counted() {
    let fault = |answers: &mut Answers| answers.answers[0].ids.clear();
    let done =
        insertion_rounds(Four::new(fault).sides(), &dataset(), &SMALL, &mut |_| Ok(())).unwrap();
    assert_eq!((done.a_found, done.b_found), (0, 8));
}

#[test]
fn honest_sides_have_the_oracles_recall_and_the_same_answers() {
    let done = searched(|_| {}).unwrap();
    assert_eq!((done.a.recall(), done.b.recall()), (1.0, 1.0));
    assert_eq!(done.rounds.len(), 8);
    assert!(done.rounds.iter().all(|round| round.a_ns.len() == SMALL.queries));
    done.a.same_as(&done.b).unwrap();
}

#[rstest::rstest]
#[case::ids_wrong(|answers: &mut Answers| of_batch(answers, |all| all[2].ids.rotate_left(1)), "query 2: row")]
#[case::claims_no_time(|answers: &mut Answers| answers.answers[0].took = Duration::ZERO, "not authentic")]
#[case::claims_too_much(|answers: &mut Answers| answers.answers[0].took = answers.wall * 2, "not authentic")]
#[case::a_query_less(|answers: &mut Answers| of_batch(answers, |all| { all.pop(); }), "6 answers to 7 queries")]
#[case::unseen_wrong(
    |answers: &mut Answers| of_single(answers, |one| { one.ids.truncate(1); one.distances.truncate(1) }),
    "have a recall of 0.3333, the others of 1.0000: not authentic"
)]
fn dishonest_work_is_named(#[case] fault: fn(&mut Answers), #[case] part: &str) {
    let message = searched(fault).err().expect("refused").to_string();
    assert!(message.contains(part), "{message}");
}

#[test]
fn unseen_queries_are_timed_and_left_to_the_verdict() {
    let slow = |answers: &mut Answers| {
        of_single(answers, |one| one.took += Duration::from_secs(1));
        answers.wall += Duration::from_secs(1);
    };
    for round in &searched(slow).unwrap().rounds {
        let controls = round.controls.as_ref().unwrap();
        assert_eq!(controls.b_unseen_ns.len(), UNSEEN_A_TURN);
        let logs = [
            Controls::log_unseen(&controls.a_unseen_ns, &round.a_ns),
            Controls::log_unseen(&controls.b_unseen_ns, &round.b_ns),
        ];
        assert!(logs[0] > logs[1], "{logs:?}");
        assert!(controls.a_unseen_ns.iter().all(|&time| time >= 1_000_000_000));
    }
}

/// Puts a fault into the answers to the protocol's queries only.
fn of_batch(answers: &mut Answers, fault: fn(&mut Vec<Answer>)) {
    if answers.answers.len() == SMALL.queries {
        fault(&mut answers.answers);
    }
}

/// Puts a fault into the answers to single queries, which are the unseen ones.
fn of_single(answers: &mut Answers, fault: fn(&mut Answer)) {
    if let [one] = &mut answers.answers[..] {
        fault(one);
    }
}

#[test]
fn short_answers_cost_recall() {
    let done = searched(|answers| {
        for answer in &mut answers.answers {
            answer.ids.pop();
            answer.distances.pop();
        }
    })
    .unwrap();
    assert!((done.a.recall() - 2.0 / 3.0).abs() < 1e-9);
    assert!(done.a.same_as(&done.b).is_err());
}

#[test]
fn the_last_bit_of_a_distance_is_compared() {
    let done = searched(|answers| {
        of_batch(answers, |all| {
            let distance = &mut all[3].distances[2];
            *distance = f32::from_bits(distance.to_bits() + 1);
        });
    })
    .unwrap();
    let message = done.a.same_as(&done.b).unwrap_err().to_string();
    assert!(message.starts_with("query 3 was answered differently"), "{message}");
}
