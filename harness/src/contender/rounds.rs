//! Two contenders at the protocol's work, round by round.

use std::time::Duration;

use super::{Answer, Contender};
use crate::dataset::Dataset;
use crate::evidence::Round;
use crate::failure::{Failure, While};
use crate::measure;
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

/// Inserts the base of `dataset` into both, from empty, in the protocol's batches.
///
/// # Errors
/// The first failure of either, or a claimed time that cannot be true.
pub fn insertion_rounds(
    a: &mut dyn Contender,
    b: &mut dyn Contender,
    dataset: &Dataset,
    protocol: &Protocol,
) -> Result<InsertionRounds, Failure> {
    let (mut a_side, mut b_side) = (InsertionSide::default(), InsertionSide::default());
    let stored = measure::rounds(
        protocol.rounds(),
        |round| a_side.round(a, dataset, protocol, round),
        |round| b_side.round(b, dataset, protocol, round),
    )?;
    let searchable = stored
        .iter()
        .enumerate()
        .map(|(i, round)| Round {
            order: round.order,
            a_ns: vec![a_side.searchable_ns[i]],
            b_ns: vec![b_side.searchable_ns[i]],
        })
        .collect();
    Ok(InsertionRounds { stored, searchable, a_found: a_side.found, b_found: b_side.found })
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
}

/// Asks both the queries of `oracle` in every round; every answer's recall is taken and its
/// distances are checked.
///
/// # Errors
/// The first failure of either, distances that are not those of the rows named, or a claimed
/// time that cannot be true.
pub fn search_rounds(
    a: &mut dyn Contender,
    b: &mut dyn Contender,
    oracle: &Oracle<'_>,
    protocol: &Protocol,
) -> Result<SearchRounds, Failure> {
    let (mut a_answered, mut b_answered) = (Answered::default(), Answered::default());
    let rounds = measure::rounds(
        protocol.rounds(),
        |_| a_answered.round(a, oracle, protocol),
        |_| b_answered.round(b, oracle, protocol),
    )?;
    Ok(SearchRounds { rounds, a: a_answered, b: b_answered })
}

impl Answered {
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
        Ok(times)
    }
}

impl Answered {
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

    use super::super::{Answers, InProcess, Insertion};
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
    struct Faulty {
        engine: InProcess,
        fault: fn(&mut Answers),
    }

    impl Contender for Faulty {
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
        let (mut a, mut b) = (Faulty { engine: engine(), fault }, engine());
        fill(&mut a, &dataset, &SMALL)?;
        fill(&mut b, &dataset, &SMALL)?;
        let oracle = Oracle::new(&dataset, &dataset.queries, SMALL.k);
        search_rounds(&mut a, &mut b, &oracle, &SMALL)
    }

    #[test]
    fn every_round_inserts_its_batch_on_both_sides() {
        let (mut a, mut b) = (engine(), engine());
        let done = insertion_rounds(&mut a, &mut b, &dataset(), &SMALL).unwrap();
        assert_eq!((done.a_found, done.b_found), (8, 8));
        assert_eq!((done.stored.len(), done.searchable.len()), (8, 8));
        for (stored, searchable) in done.stored.iter().zip(&done.searchable) {
            assert_eq!(stored.order, searchable.order);
            assert!(searchable.a_ns[0] > stored.a_ns[0] && searchable.b_ns[0] > stored.b_ns[0]);
        }
        assert_eq!(a.vectors().unwrap(), dataset().base);
    }

    #[test]
    fn rows_that_are_not_searchable_at_once_are_counted() {
        let fault = |answers: &mut Answers| answers.answers[0].ids.clear();
        let (mut a, mut b) = (Faulty { engine: engine(), fault }, engine());
        let done = insertion_rounds(&mut a, &mut b, &dataset(), &SMALL).unwrap();
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
    #[case::ids_wrong(|answers: &mut Answers| answers.answers[2].ids.rotate_left(1), "query 2: row")]
    #[case::claims_no_time(|answers: &mut Answers| answers.answers[1].took = Duration::ZERO, "not authentic")]
    #[case::claims_too_much(|answers: &mut Answers| answers.answers[1].took = answers.wall * 2, "not authentic")]
    #[case::a_query_less(|answers: &mut Answers| { answers.answers.pop(); }, "6 answers to 7 queries")]
    fn dishonest_work_is_named(#[case] fault: fn(&mut Answers), #[case] part: &str) {
        let message = searched(fault).err().expect("refused").to_string();
        assert!(message.contains(part), "{message}");
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
            let distance = &mut answers.answers[3].distances[2];
            *distance = f32::from_bits(distance.to_bits() + 1);
        })
        .unwrap();
        let message = done.a.same_as(&done.b).unwrap_err().to_string();
        assert!(message.starts_with("query 3 was answered differently"), "{message}");
    }
}
