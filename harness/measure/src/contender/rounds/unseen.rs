//! Queries that no contender has been asked before.

use std::time::Duration;

use evidence::protocol::UNSEEN_A_TURN;
use machine::failure::{Failure, WithContext};

use crate::contender::interface::{Answer, Contender};
use crate::dataset::{Dataset, NumpyRandom};
use crate::oracle::Oracle;

/// New queries from a dataset's stream, each of which is drawn once. Use one `Unseen` for the whole
/// life of the contenders: a query that is repeated, in a later pass or in another search of the
/// same store, may be answered from a cache.
pub struct Unseen<'a> {
    dataset: &'a Dataset,
    stream: NumpyRandom,
}

impl<'a> Unseen<'a> {
    /// Starts behind the dataset's own queries and `told` further ones, which contenders are asked
    /// for another purpose.
    pub fn behind(dataset: &'a Dataset, told: usize) -> Self {
        Unseen { dataset, stream: dataset.stream_behind(told) }
    }

    fn draw(&mut self) -> Vec<f32> {
        self.stream.matrix(1, self.dataset.dim)
    }
}

/// A contender's answers to unseen queries.
#[derive(Default)]
pub(super) struct UnseenAnswers {
    queries: Vec<f32>,
    answers: Vec<Answer>,
}

impl UnseenAnswers {
    /// Asks [`UNSEEN_A_TURN`] new queries, one per call, and returns how long each took.
    pub(super) fn ask(
        &mut self,
        contender: &mut dyn Contender,
        unseen: &mut Unseen<'_>,
        k: usize,
    ) -> Result<Vec<Duration>, Failure> {
        let name = contender.name().to_owned();
        let mut all = Vec::with_capacity(UNSEEN_A_TURN);
        for _ in 0..UNSEEN_A_TURN {
            let query = unseen.draw();
            let answers = contender.search(&query, k)?;
            all.extend(answers.times(&name)?);
            self.queries.extend(query);
            self.answers.extend(answers.answers);
        }
        Ok(all)
    }

    /// The mean recall@k of these queries; their distances are checked too. The true neighbours are
    /// computed only after the rounds and only for queries that were asked, because that takes long
    /// on an emulated CPU and would disturb the processor's caches between turns.
    pub(super) fn recall(&self, unseen: &Unseen<'_>, k: usize) -> Result<f64, Failure> {
        let oracle = Oracle::new(unseen.dataset, &self.queries, k);
        let recall = oracle.mean_recall(self.answers.iter().map(|answer| &answer.ids[..]))?;
        for (query, answer) in self.answers.iter().enumerate() {
            oracle
                .check_distances(query, &answer.ids, &answer.distances)
                .context("queries never asked before")?;
        }
        Ok(recall)
    }
}
