//! Repetitions of a criterion: how often does it fail on a healthy system?

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use evidence::facts::{REPETITION, Repeated, Tests};
use evidence::place::Place;
use evidence::stats::clopper_pearson_upper;
use evidence::thresholds::SOAK_ALPHA;
use evidence::{Event, GuestFault, Trail, TrialState, against_the_launcher, read_trail};
use serde::Deserialize as _;

/// One repetition, and how its trials ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repetition {
    /// Its number, from 1.
    pub number: u32,
    /// Trials that passed.
    pub passed: BTreeSet<String>,
    /// Why it is an alarm: the trials that failed or did not end, or nextest's result if no trial
    /// says so.
    pub failed: Vec<String>,
}

/// The repetitions of a criterion in a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repetitions {
    /// Each repetition that ran a trial, in order.
    pub all: Vec<Repetition>,
    /// Why the count cannot be trusted: damage, repetitions without a trial or with unexpected
    /// trials, a guest that did not end well.
    pub faults: Vec<String>,
}

impl Repetitions {
    /// Reads the evidence that the repetitions in `place` left in `dir`.
    pub fn read(dir: &Path, place: Place) -> io::Result<Repetitions> {
        let host = read_trail(dir, Place::Host)?;
        let mut expected = BTreeSet::new();
        let mut ends = Vec::new();
        for record in host.iter().flat_map(|trail| &trail.records) {
            match &record.event {
                Event::Expected { at, trials } if *at == place => {
                    expected.extend(trials.iter().cloned());
                }
                Event::GuestEnded(end) if end.fault != GuestFault::None => {
                    ends.push(end.how.clone());
                }
                _ => {}
            }
        }
        let trail = read_trail(dir, place)?;
        let mut repetitions =
            trail.as_ref().map_or_else(Repetitions::default, |trail| Self::of(trail, expected));
        repetitions.faults.extend(ends);
        if place == Place::Guest {
            repetitions.faults.extend(against_the_launcher(host.as_ref(), trail.as_ref()));
        }
        Ok(repetitions)
    }

    fn of(trail: &Trail, mut expected: BTreeSet<String>) -> Repetitions {
        let mut repetitions = Repetitions::default();
        let damaged = trail.damage.iter().map(|one| format!("line {}: {}", one.line, one.what));
        repetitions.faults.extend(damaged);
        // A repetition's trials come before the fact that ends it.
        let mut current = Repetition::default();
        let mut begun: Vec<&str> = Vec::new();
        // Which trials each counted repetition ran, by its number.
        let mut ran: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for record in &trail.records {
            match &record.event {
                Event::TrialStarted { trial } => begun.push(trial),
                Event::TrialFinished { trial, state, .. } => {
                    begun.retain(|one| one != trial);
                    match state {
                        TrialState::Passed => {
                            current.passed.insert(trial.clone());
                        }
                        TrialState::Failed | TrialState::Undecided | TrialState::NotTried => {
                            current.failed.push(trial.clone())
                        }
                    }
                }
                Event::Fact { name, value, .. } if name == REPETITION => {
                    current.failed.extend(begun.drain(..).map(str::to_owned));
                    let one = std::mem::take(&mut current);
                    let trials: BTreeSet<_> =
                        one.passed.iter().chain(&one.failed).cloned().collect();
                    match Repeated::deserialize(value) {
                        Ok(ended) => {
                            let number = ended.number;
                            if repetitions.push(one, ended) {
                                ran.insert(number, trials);
                            }
                        }
                        Err(why) => repetitions
                            .faults
                            .push(format!("a repetition does not say how it ended: {why}")),
                    }
                }
                _ => {}
            }
        }
        // The soak was cut off: an incomplete repetition does not count.
        if current != Repetition::default() || !begun.is_empty() {
            repetitions.faults.push("the last repetition did not end".to_owned());
        }
        expected.extend(ran.values().flatten().cloned());
        repetitions.faults.extend(not_run(&expected, &ran));
        repetitions
    }

    /// Adds a finished repetition, and returns whether it counts.
    fn push(&mut self, mut one: Repetition, ended: Repeated) -> bool {
        let number = ended.number;
        one.number = number;
        match ended.tests {
            Tests::NotRun => {
                self.faults.push(format!(
                    "the tests of repetition {number} could not be run: {}",
                    ended.note
                ));
                // A trial that failed before that is still an alarm.
                if one.failed.is_empty() {
                    return false;
                }
            }
            Tests::Failed if one.failed.is_empty() => {
                one.failed.push("tests failed, and no trial says so".to_owned());
            }
            Tests::Passed if one.failed.is_empty() && one.passed.is_empty() => {
                self.faults.push(format!("repetition {number} ran no trial"));
                return false;
            }
            Tests::Failed | Tests::Passed => {}
        }
        self.all.push(one);
        true
    }

    /// How many repetitions had a failed trial, or failed tests without one.
    pub fn alarms(&self) -> u32 {
        self.all.iter().filter(|one| !one.failed.is_empty()).count() as u32
    }

    /// Upper bound of the probability of an alarm, at 95 %.
    pub fn alarm_rate_below(&self) -> f64 {
        clopper_pearson_upper(self.alarms(), self.all.len() as u32, SOAK_ALPHA)
    }
}

/// Reports repetitions that left out `expected` trials, which must not count: one fault for each
/// set of repetitions that left out the same trials.
fn not_run(expected: &BTreeSet<String>, ran: &BTreeMap<u32, BTreeSet<String>>) -> Vec<String> {
    let mut left_out: BTreeMap<Vec<u32>, Vec<&str>> = BTreeMap::new();
    for trial in expected {
        let without = ran.iter().filter(|(_, trials)| !trials.contains(trial));
        let without: Vec<u32> = without.map(|(number, _)| *number).collect();
        if !without.is_empty() {
            left_out.entry(without).or_default().push(trial);
        }
    }
    let told = left_out.into_iter().map(|(numbers, trials)| {
        let numbers = if numbers.len() == ran.len() {
            "any repetition".to_owned()
        } else {
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            format!("repetition {}", numbers.join(", "))
        };
        format!("not run in {numbers}: {}", trials.join(", "))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use evidence::Writer;
    use evidence::criterion::Criterion;
    use serde_json::json;

    use super::*;
    use crate::made::finished;

    fn read(events: Vec<Event>) -> Repetitions {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(dir.path(), Place::Host).unwrap();
        for event in events {
            writer.write(event).unwrap();
        }
        Repetitions::read(dir.path(), Place::Host).unwrap()
    }

    fn end(number: u32, tests: Tests) -> Event {
        let note = "it ended with status 101".to_owned();
        let ended = Repeated { criterion: Criterion::Fuse, number, of: 20, tests, note };
        Event::Fact { trial: "soak".into(), name: REPETITION.into(), value: json!(ended) }
    }

    fn passed(trial: &str) -> [Event; 2] {
        finished(trial, TrialState::Passed, "")
    }

    #[test]
    fn an_alarm_is_a_repetition_with_a_failed_trial() {
        let mut events = Vec::new();
        for number in 1..=20 {
            let (state, tests) = match number {
                8 => (TrialState::Failed, Tests::Failed),
                _ => (TrialState::Passed, Tests::Passed),
            };
            events.extend(finished("fuse::mounts", TrialState::Passed, ""));
            events.extend(finished("fuse::reads", state, "EIO"));
            events.push(end(number, tests));
        }
        let repetitions = read(events);
        assert_eq!((repetitions.all.len(), repetitions.alarms()), (20, 1));
        assert_eq!(repetitions.all[7].failed, ["fuse::reads"]);
        assert_eq!(repetitions.all[7].number, 8);
        assert_eq!(repetitions.faults, Vec::<String>::new());
        // From a table of the beta distribution: 95 % of Beta(2, 19).
        assert!((repetitions.alarm_rate_below() - 0.216_106).abs() < 1e-5);
    }

    #[test]
    fn a_repetition_without_a_trial_proves_nothing() {
        let mut events = vec![end(1, Tests::Passed)];
        events.extend(finished("fuse::mounts", TrialState::Passed, ""));
        let repetitions = read(events);
        assert_eq!(repetitions.all, []);
        assert_eq!(repetitions.faults.len(), 2, "{:?}", repetitions.faults);
        assert!((repetitions.alarm_rate_below() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_trial_that_never_ended_is_an_alarm() {
        let begun = Event::TrialStarted { trial: "fuse::mounts".into() };
        let repetitions = read(vec![begun, end(1, Tests::Failed)]);
        assert_eq!(repetitions.alarms(), 1);
        assert_eq!(repetitions.all[0].failed, ["fuse::mounts"]);
    }

    /// A process left behind, a test that died before its first record or after its last.
    #[test]
    fn tests_that_failed_without_a_trial_are_an_alarm() {
        let mut events = passed("fuse::mounts").to_vec();
        events.extend([end(1, Tests::Failed), end(2, Tests::Failed)]);
        let repetitions = read(events);
        assert_eq!(repetitions.alarms(), 2);
        assert_eq!(repetitions.all[0].failed, ["tests failed, and no trial says so"]);
        assert_eq!(repetitions.faults, ["not run in repetition 2: fuse::mounts"]);
    }

    #[test]
    fn tests_that_could_not_be_run_are_a_fault() {
        let mut events = passed("fuse::mounts").to_vec();
        events.push(end(1, Tests::NotRun));
        events.extend(finished("fuse::mounts", TrialState::Failed, "EIO"));
        events.push(end(2, Tests::NotRun));
        let repetitions = read(events);
        assert_eq!((repetitions.all.len(), repetitions.alarms()), (1, 1));
        let words = |number| {
            format!("the tests of repetition {number} could not be run: it ended with status 101")
        };
        assert_eq!(repetitions.faults, [words(1), words(2)]);
    }

    #[test]
    fn every_repetition_runs_the_same_trials_and_those_expected() {
        let expect = |trials: &[&str]| Event::Expected {
            at: Place::Host,
            trials: trials.iter().map(|&one| one.to_owned()).collect(),
        };
        let mut events = vec![expect(&["fuse::mounts", "fuse::reads"])];
        for number in 1..=3 {
            events.extend(passed("fuse::mounts"));
            if number == 2 {
                events.extend(passed("fuse::new"));
            }
            events.push(end(number, Tests::Passed));
        }
        let repetitions = read(events);
        assert_eq!((repetitions.all.len(), repetitions.alarms()), (3, 0));
        let faults =
            ["not run in any repetition: fuse::reads", "not run in repetition 1, 3: fuse::new"];
        assert_eq!(repetitions.faults.len(), 2, "{:?}", repetitions.faults);
        for fault in faults {
            assert!(repetitions.faults.iter().any(|one| one == fault), "{:?}", repetitions.faults);
        }
    }

    #[test]
    fn a_repetition_that_does_not_say_how_it_ended_is_none() {
        let mut events = passed("fuse::mounts").to_vec();
        let value = json!({"criterion": "fuse", "number": 1, "of": 2});
        events.push(Event::Fact { trial: "soak".into(), name: REPETITION.into(), value });
        let repetitions = read(events);
        assert_eq!(repetitions.all, []);
        assert!(
            repetitions.faults[0].contains("missing field `tests`"),
            "{:?}",
            repetitions.faults
        );
    }
}
