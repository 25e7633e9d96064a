//! An index of a trail's records, built once: by trial and by fact.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use evidence::criterion::Criterion;
use evidence::place::Place;
use evidence::{Event, Record};
use serde_json::Value;

use crate::trial_end::{self, TrialEnd};

/// A fact that a trial recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fact<'e> {
    pub(crate) trial: &'e str,
    pub(crate) value: &'e Value,
}

/// The index of the records of one place.
#[derive(Debug, Default)]
pub(crate) struct TrailIndex {
    /// The trials that the manifest demanded in this place when the run began.
    pub(crate) expected: BTreeSet<String>,
    /// How each trial ended, whether it was expected or not.
    ends: BTreeMap<Criterion, BTreeMap<String, TrialEnd>>,
    /// Positions of facts among the records, by the fact's name.
    facts: HashMap<String, Vec<usize>>,
}

impl TrailIndex {
    /// Builds the index of `records`, which `place` wrote. The `host` records say which trials were
    /// expected there.
    pub(crate) fn of(place: Place, records: &[Record], host: &[Record]) -> TrailIndex {
        let mut index = TrailIndex::default();
        for record in host {
            if let Event::Expected { at, trials } = &record.event
                && *at == place
            {
                index.expected.extend(trials.iter().cloned());
            }
        }
        let mut ends: BTreeMap<String, TrialEnd> =
            index.expected.iter().map(|trial| (trial.clone(), TrialEnd::NotRun)).collect();
        ends.extend(trial_end::of_records(records));
        for (trial, end) in ends {
            if let Some(criterion) = Criterion::of_trial(&trial) {
                index.ends.entry(criterion).or_default().insert(trial, end);
            }
        }
        for (at, record) in records.iter().enumerate() {
            if let Event::Fact { name, .. } = &record.event {
                index.facts.entry(name.clone()).or_default().push(at);
            }
        }
        index
    }

    /// How the trials of `criterion` ended, by their names.
    pub(crate) fn ends(&self, criterion: Criterion) -> impl Iterator<Item = (&str, &TrialEnd)> {
        let ends = self.ends.get(&criterion).into_iter().flatten();
        ends.map(|(trial, end)| (trial.as_str(), end))
    }

    /// How `trial` ended, if it belongs to a criterion and anything is known about it.
    pub(crate) fn end(&self, trial: &str) -> Option<&TrialEnd> {
        self.ends.get(&Criterion::of_trial(trial)?)?.get(trial)
    }

    /// The facts called `name`. `records` must be the ones that this index was built from.
    pub(crate) fn facts<'e>(
        &'e self,
        records: &'e [Record],
        name: &str,
    ) -> impl Iterator<Item = Fact<'e>> {
        let found = self.facts.get(name).into_iter().flatten();
        found.filter_map(|&at| match &records.get(at)?.event {
            Event::Fact { trial, value, .. } => Some(Fact { trial, value }),
            _ => None,
        })
    }
}
