//! Two contenders at the protocol's work, round by round.

use std::time::Duration;

use super::{Answer, Contender};
use crate::dataset::Dataset;
use crate::evidence::{Controls, Round};
use crate::failure::{Failure, While};
use crate::measure::{self, Arm};
use crate::oracle::Oracle;
use crate::protocol::Protocol;
use crate::require;

/// Inserts the base of `dataset` into an empty contender, in the protocol's batches.
///
/// # Errors
/// Its first failure.
pub fn fill(
    contender: &mut dyn Contender,
    dataset: &Dataset,
    protocol: &Protocol,
) -> Result<(), Failure> {
    let batches = dataset.base.chunks(protocol.insertion_batch * dataset.dim);
    for (number, rows) in batches.enumerate() {
        contender.insert((number * protocol.insertion_batch) as u64, rows)?;
    }
    Ok(())
}

/// The four sides of a measurement: A, what it is held against, and two copies of A as controls,
/// one of them [`Slowed`](super::Slowed).
pub struct Sides<'a> {
    /// What is measured.
    pub a: &'a mut dyn Contender,
    /// What it is held against.
    pub b: &'a mut dyn Contender,
    /// A copy of A.
    pub again: &'a mut dyn Contender,
    /// A copy of A, slower by a known part.
    pub slowed: &'a mut dyn Contender,
}

impl Sides<'_> {
    fn of(&mut self, arm: Arm) -> &mut dyn Contender {
        match arm {
            Arm::A => self.a,
            Arm::B => self.b,
            Arm::Again => self.again,
            Arm::Slowed => self.slowed,
        }
    }
}

/// Insertion of the protocol's rows, a batch a round.
pub struct InsertionRounds {
    /// One operation a round: the batch was stored.
    pub stored: Vec<Round>,
    /// One operation a round: the batch was stored and the first search after it answered, so
    /// that work which a contender puts off until it is asked counts as well.
    pub searchable: Vec<Round>,
    /// Batches of A whose last row that search found first.
    pub a_found: usize,
    /// Batches of B whose last row that search found first.
    pub b_found: usize,
}

/// Inserts the base of `dataset` into all four, from empty, in the protocol's batches.
///
/// # Errors
/// The first failure of a side, or a claimed time that cannot be true.
pub fn insertion_rounds(
    mut sides: Sides<'_>,
    dataset: &Dataset,
    protocol: &Protocol,
) -> Result<InsertionRounds, Failure> {
    let mut inserted = Arm::ALL.map(|_| InsertionSide::default());
    // Rows are stored once: a disturbed round is not done again.
    let stored = measure::controlled_rounds(protocol.rounds(), 0, |arm, round| {
        inserted[arm as usize].round(sides.of(arm), dataset, protocol, round)
    })?
    .rounds;
    let [a, b, again, slowed] = inserted;
    let searchable = stored
        .iter()
        .enumerate()
        .map(|(i, round)| Round {
            order: round.order,
            a_ns: vec![a.searchable_ns[i]],
            b_ns: vec![b.searchable_ns[i]],
            controls: Some(Controls {
                again_ns: vec![again.searchable_ns[i]],
                slowed_ns: vec![slowed.searchable_ns[i]],
            }),
            noise: round.noise,
        })
        .collect();
    Ok(InsertionRounds { stored, searchable, a_found: a.found, b_found: b.found })
}

#[derive(Default)]
struct InsertionSide {
    searchable_ns: Vec<u64>,
    found: usize,
}

impl InsertionSide {
    fn round(
        &mut self,
        contender: &mut dyn Contender,
        dataset: &Dataset,
        protocol: &Protocol,
        round: usize,
    ) -> Result<Vec<Duration>, Failure> {
        let first = round * protocol.insertion_batch;
        let last = first + protocol.insertion_batch - 1;
        let name = contender.name().to_owned();
        let rows = &dataset.base[first * dataset.dim..(last + 1) * dataset.dim];
        let stored = contender.insert(first as u64, rows)?.time(&name)?;
        let answers = contender.search(dataset.row(last), 1)?;
        let searched: Duration = answers.times(&name)?.iter().sum();
        self.searchable_ns.push(u64::try_from((stored + searched).as_nanos())?);
        self.found += usize::from(answers.answers[0].ids == [last as u64]);
        Ok(vec![stored])
    }
}

/// Searches, the protocol's queries a round.
pub struct SearchRounds {
    /// One operation for each query a round.
    pub rounds: Vec<Round>,
    /// Rounds that were disturbed and done again.
    pub disturbed: Vec<Round>,
    /// What A answered.
    pub a: Answered,
    /// What B answered.
    pub b: Answered,
}

/// What a contender answered over all rounds.
#[derive(Default)]
pub struct Answered {
    /// Mean recall@k of each round.
    pub recalls: Vec<f64>,
    /// The last round's answers.
    pub last: Vec<Answer>,
    /// Recall@k of each query that it had not seen before, and how long it took.
    unseen: Vec<(f64, Duration)>,
    /// How long the others took.
    seen: Vec<Duration>,
}

/// Queries that open a side's turn and that it has not been asked before: what answers from
/// memory does not know them. They also bring its data back into the processor's caches, and
/// their times are not those of the round.
pub const UNSEEN_A_TURN: usize = 4;
/// By how much longer unseen queries may take than the others, in the median.
const UNSEEN_SLOWER: u32 = 3;
/// Differences below this are the timer's.
const UNSEEN_TIMER: Duration = Duration::from_micros(20);
/// By how much recall of unseen queries may be lower: ten standard errors of a graph's.
const UNSEEN_RECALL: f64 = 0.1;

/// Asks all four the queries of `oracle` in every round, each turn after [`UNSEEN_A_TURN`] of
/// `unseen`; every answer's recall is taken and its distances are checked. Asked are
/// [`SearchRounds::asked`] of each side.
///
/// # Errors
/// The first failure of a side, distances that are not those of the rows named, a claimed time
/// that cannot be true, unseen queries that are answered worse or much more slowly than the others,
/// or a copy of A that answers otherwise than A.
pub fn search_rounds(
    mut sides: Sides<'_>,
    oracle: &Oracle<'_>,
    unseen: &Oracle<'_>,
    protocol: &Protocol,
) -> Result<SearchRounds, Failure> {
    let mut answered = Arm::ALL.map(|_| Answered::default());
    let mut turns = 0;
    let measure::Controlled { rounds, disturbed } =
        measure::controlled_rounds(protocol.rounds(), measure::REPEATS, |arm, _| {
            let (side, answered) = (sides.of(arm), &mut answered[arm as usize]);
            answered.ask_unseen(side, unseen, turns * UNSEEN_A_TURN, protocol.k)?;
            turns += 1;
            answered.round(side, oracle, protocol)
        })?;
    for (arm, answered) in Arm::ALL.into_iter().zip(&answered) {
        answered.check_unseen().when(sides.of(arm).name().to_owned())?;
    }
    let [a, b, again, slowed] = answered;
    again.same_as(&a).when("A and its copy")?;
    slowed.same_as(&a).when("A and its slowed copy")?;
    Ok(SearchRounds { rounds, disturbed, a, b })
}

impl SearchRounds {
    /// Queries that each side was asked.
    #[must_use]
    pub fn asked(&self, protocol: &Protocol) -> u64 {
        let rounds = self.rounds.len() + self.disturbed.len();
        (rounds * (protocol.queries + UNSEEN_A_TURN)) as u64
    }
}

impl Answered {
    /// Asks the queries of `unseen` that follow the first `skip`; they begin anew at the end.
    fn ask_unseen(
        &mut self,
        contender: &mut dyn Contender,
        unseen: &Oracle<'_>,
        skip: usize,
        k: usize,
    ) -> Result<(), Failure> {
        let name = contender.name().to_owned();
        for query in (skip..skip + UNSEEN_A_TURN).map(|number| number % unseen.len()) {
            let answers = contender.search(unseen.query(query), k)?;
            let times = answers.times(&name)?;
            for (answer, time) in answers.answers.iter().zip(times) {
                unseen.check_distances(query, &answer.ids, &answer.distances).when(&name)?;
                self.unseen.push((unseen.recall(query, &answer.ids), time));
            }
        }
        Ok(())
    }

    /// Whether unseen queries were answered as well as the others, and about as fast.
    fn check_unseen(&self) -> Result<(), Failure> {
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times.get(times.len() / 2).copied().unwrap_or_default()
        };
        let recall =
            self.unseen.iter().map(|&(recall, _)| recall).sum::<f64>() / self.unseen.len() as f64;
        let unseen = median(self.unseen.iter().map(|&(_, time)| time).collect());
        let seen = median(self.seen.clone());
        let as_good = recall >= self.recall() - UNSEEN_RECALL;
        require!(
            as_good,
            "queries never asked before have a recall of {recall:.4}, the others of {:.4}: not \
             authentic",
            self.recall()
        );
        require!(
            unseen <= seen * UNSEEN_SLOWER + UNSEEN_TIMER,
            "queries never asked before take {unseen:?} in the median, the others {seen:?}: not \
             authentic"
        );
        Ok(())
    }

    fn round(
        &mut self,
        contender: &mut dyn Contender,
        oracle: &Oracle<'_>,
        protocol: &Protocol,
    ) -> Result<Vec<Duration>, Failure> {
        let name = contender.name().to_owned();
        let answers = contender.search(oracle.queries(), protocol.k)?;
        let times = answers.times(&name)?;
        let recall = oracle.mean_recall(answers.answers.iter().map(|answer| &answer.ids[..]));
        self.recalls.push(recall.when(&name)?);
        for (query, answer) in answers.answers.iter().enumerate() {
            oracle.check_distances(query, &answer.ids, &answer.distances).when(&name)?;
        }
        self.last = answers.answers;
        self.seen.extend_from_slice(&times);
        Ok(times)
    }
}

impl Answered {
    /// Answers that are only compared with others.
    #[must_use]
    pub fn of(answers: Vec<Answer>) -> Self {
        Answered { last: answers, ..Answered::default() }
    }

    /// Mean recall@k over all rounds.
    #[must_use]
    pub fn recall(&self) -> f64 {
        self.recalls.iter().sum::<f64>() / self.recalls.len() as f64
    }

    /// Whether two contenders named the same rows at the same distances, bit for bit.
    ///
    /// # Errors
    /// The first query whose answers differ.
    pub fn same_as(&self, other: &Answered) -> Result<(), Failure> {
        require!(
            self.last.len() == other.last.len(),
            "{} answers and {}",
            self.last.len(),
            other.last.len()
        );
        for (query, (one, two)) in self.last.iter().zip(&other.last).enumerate() {
            let bits = |answer: &Answer| -> Vec<u32> {
                answer.distances.iter().map(|distance| distance.to_bits()).collect()
            };
            require!(
                one.ids == two.ids && bits(one) == bits(two),
                "query {query} was answered differently: {:?} at {:?}, and {:?} at {:?}",
                one.ids,
                one.distances,
                two.ids,
                two.distances
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use vexfs_uapi::client::Declaration;

    use super::super::{Answers, InProcess, Insertion, Slowed};
    use super::*;
    use crate::protocol::Metric;

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

    /// The engine, with a fault put into what it answers.
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
        let further = dataset.further_queries(Arm::ALL.len() * SMALL.rounds() * UNSEEN_A_TURN);
        let unseen = Oracle::new(&dataset, &further, SMALL.k);
        search_rounds(four.sides(), &oracle, &unseen, &SMALL)
    }

    /// The engine four times: A with a fault, and so its copies.
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
            Sides { a, b, again, slowed }
        }
    }

    #[test]
    fn every_round_inserts_its_batch_on_both_sides() {
        let mut four = Four::new(|_| {});
        let done = insertion_rounds(four.sides(), &dataset(), &SMALL).unwrap();
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
        let done = insertion_rounds(Four::new(fault).sides(), &dataset(), &SMALL).unwrap();
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
    #[case::unseen_slow(
        |answers: &mut Answers| {
            of_single(answers, |one| one.took += Duration::from_secs(1));
            answers.wall += Duration::from_secs(1);
        },
        "queries never asked before take 1"
    )]
    fn dishonest_work_is_named(#[case] fault: fn(&mut Answers), #[case] part: &str) {
        let message = searched(fault).err().expect("refused").to_string();
        assert!(message.contains(part), "{message}");
    }

    /// A fault in the answers to the protocol's queries alone.
    fn of_batch(answers: &mut Answers, fault: fn(&mut Vec<Answer>)) {
        if answers.answers.len() == SMALL.queries {
            fault(&mut answers.answers);
        }
    }

    /// A fault in the answers to queries that come alone: the unseen ones.
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
}
