//! A contender's answers, and checks that they were right.

use std::time::Duration;

use evidence::protocol::Protocol;
use machine::failure::{Failure, WithContext};
use machine::require;

use super::unseen::{Unseen, UnseenAnswers};
use crate::contender::interface::{Answer, Contender};
use crate::oracle::Oracle;

/// By how much the recall of unseen queries may be lower: ten standard errors of a graph's recall.
const UNSEEN_RECALL: f64 = 0.1;

/// How much the recalls of two graphs over the same rows may differ.
const COPYS_RECALL: f64 = 0.05;

/// A contender's answers over all rounds.
#[derive(Default)]
pub struct Answered {
    /// Mean recall@k of each round.
    pub recalls: Vec<f64>,
    /// The last round's answers.
    pub last: Vec<Answer>,
    /// Its answers to queries that it had not seen before.
    unseen: UnseenAnswers,
}

impl Answered {
    /// Asks the next queries of `unseen`, and returns how long each took.
    pub(super) fn ask_unseen(
        &mut self,
        contender: &mut dyn Contender,
        unseen: &mut Unseen<'_>,
        k: usize,
    ) -> Result<Vec<Duration>, Failure> {
        self.unseen.ask(contender, unseen, k)
    }

    /// Checks that unseen queries were answered as well as the others. The verdict judges their
    /// times, because it knows the noise.
    pub(super) fn check_unseen(&self, unseen: &Unseen<'_>, k: usize) -> Result<(), Failure> {
        let recall = self.unseen.recall(unseen, k)?;
        let as_good = recall >= self.recall() - UNSEEN_RECALL;
        require!(
            as_good,
            "queries never asked before have a recall of {recall:.4}, the others of {:.4}: not \
             authentic",
            self.recall()
        );
        Ok(())
    }

    pub(super) fn round(
        &mut self,
        contender: &mut dyn Contender,
        oracle: &Oracle<'_>,
        protocol: &Protocol,
    ) -> Result<Vec<Duration>, Failure> {
        let name = contender.name().to_owned();
        let answers = contender.search(oracle.queries(), protocol.k)?;
        let times = answers.times(&name)?;
        let recall = oracle.mean_recall(answers.answers.iter().map(|answer| &answer.ids[..]));
        self.recalls.push(recall.context(&name)?);
        for (query, answer) in answers.answers.iter().enumerate() {
            oracle.check_distances(query, &answer.ids, &answer.distances).context(&name)?;
        }
        self.last = answers.answers;
        Ok(times)
    }

    /// Answers that are only compared with other answers, without recalls.
    pub fn of(answers: Vec<Answer>) -> Self {
        Answered { last: answers, ..Answered::default() }
    }

    /// Mean recall@k over all rounds.
    pub fn recall(&self) -> f64 {
        self.recalls.iter().sum::<f64>() / self.recalls.len() as f64
    }

    /// Checks that two contenders' recalls are about the same.
    ///
    /// # Errors
    /// If they are not; the error names both recalls.
    pub fn as_good_as(&self, other: &Answered) -> Result<(), Failure> {
        let (one, two) = (self.recall(), other.recall());
        require!(
            (one - two).abs() <= COPYS_RECALL,
            "recalls of {one:.4} and {two:.4} from stores of the same rows, which must agree: not \
             authentic"
        );
        Ok(())
    }

    /// Checks that two contenders named the same rows at the same distances, bit for bit.
    ///
    /// # Errors
    /// The first query whose answers differ.
    pub fn same_as(&self, other: &Answered) -> Result<(), Failure> {
        require!(
            self.last.len() == other.last.len(),
            "one gave {} answers, the other {}",
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
