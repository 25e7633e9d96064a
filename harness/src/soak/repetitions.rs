//! A criterion, repeated: how often is a healthy system accused?

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ALPHA, REPETITION};
use crate::evidence::{Event, GuestFault, Trail, TrialState, read_trail};
use crate::place::Place;
use crate::stats::clopper_pearson_upper;

/// One repetition, as the trials in it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repetition {
    /// Trials that passed.
    pub passed: u32,
    /// Names of those that failed or did not end.
    pub failed: Vec<String>,
}

/// The repetitions of a criterion in a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repetitions {
    /// Each that ran a trial, in order.
    pub all: Vec<Repetition>,
    /// What keeps the number from being one: damage, repetitions without a trial, a guest that
    /// ended otherwise.
    pub faults: Vec<String>,
}

impl Repetitions {
    /// Reads what the repetitions in `place` left in `dir`.
    ///
    /// # Errors
    /// Where the evidence cannot be read.
    pub fn read(dir: &Path, place: Place) -> io::Result<Repetitions> {
        let mut repetitions =
            read_trail(dir, place)?.map_or_else(Repetitions::default, |trail| Self::of(&trail));
        for record in read_trail(dir, Place::Host)?.iter().flat_map(|trail| &trail.records) {
            if let Event::GuestEnded(end) = &record.event
                && end.fault != GuestFault::None
            {
                repetitions.faults.push(end.how.clone());
            }
        }
        Ok(repetitions)
    }

    fn of(trail: &Trail) -> Repetitions {
        let mut repetitions = Repetitions::default();
        let damaged = trail.damage.iter().map(|one| format!("line {}: {}", one.line, one.what));
        repetitions.faults.extend(damaged);
        // Trials come before the fact that ends their repetition.
        let mut current = Repetition::default();
        let mut begun: Vec<&str> = Vec::new();
        for record in &trail.records {
            match &record.event {
                Event::TrialStarted { trial } => begun.push(trial),
                Event::TrialFinished { trial, state, .. } => {
                    begun.retain(|one| one != trial);
                    match state {
                        TrialState::Passed => current.passed += 1,
                        TrialState::Failed | TrialState::Undecided => {
                            current.failed.push(trial.clone())
                        }
                    }
                }
                Event::Fact { name, .. } if name == REPETITION => {
                    current.failed.extend(begun.drain(..).map(str::to_owned));
                    repetitions.push(std::mem::take(&mut current));
                }
                _ => {}
            }
        }
        // Cut off in the middle: what it has done so far is no repetition.
        if current != Repetition::default() || !begun.is_empty() {
            repetitions.faults.push("the last repetition did not end".to_owned());
        }
        repetitions
    }

    fn push(&mut self, one: Repetition) {
        if one == Repetition::default() {
            self.faults.push("a repetition ran no trial".to_owned());
        } else {
            self.all.push(one);
        }
    }

    /// Repetitions in which a trial failed.
    #[must_use]
    pub fn alarms(&self) -> u32 {
        self.all.iter().filter(|one| !one.failed.is_empty()).count() as u32
    }

    /// Upper bound of the probability of an alarm, at 95 %.
    #[must_use]
    pub fn alarm_rate_below(&self) -> f64 {
        clopper_pearson_upper(self.alarms(), self.all.len() as u32, ALPHA)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evidence::Writer;
    use crate::verdict::tests::finished;

    fn read(events: Vec<Event>) -> Repetitions {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(dir.path(), Place::Host).unwrap();
        for event in events {
            writer.write(event).unwrap();
        }
        Repetitions::read(dir.path(), Place::Host).unwrap()
    }

    fn end() -> Event {
        Event::Fact { trial: "soak".into(), name: REPETITION.into(), value: json!({}) }
    }

    #[test]
    fn an_alarm_is_a_repetition_with_a_failed_trial() {
        let mut events = Vec::new();
        for number in 0..20 {
            let state = if number == 7 { TrialState::Failed } else { TrialState::Passed };
            events.extend(finished("fuse::mounts", TrialState::Passed, ""));
            events.extend(finished("fuse::reads", state, "EIO"));
            events.push(end());
        }
        let repetitions = read(events);
        assert_eq!((repetitions.all.len(), repetitions.alarms()), (20, 1));
        assert_eq!(repetitions.all[7].failed, ["fuse::reads"]);
        assert_eq!(repetitions.faults, Vec::<String>::new());
        // Of a beta distribution's table: 95 % of Beta(2, 19).
        assert!((repetitions.alarm_rate_below() - 0.216_106).abs() < 1e-5);
    }

    #[test]
    fn a_repetition_without_a_trial_proves_nothing() {
        let mut events = vec![end()];
        events.extend(finished("fuse::mounts", TrialState::Passed, ""));
        let repetitions = read(events);
        assert_eq!(repetitions.all, []);
        assert_eq!(repetitions.faults.len(), 2, "{:?}", repetitions.faults);
        assert!((repetitions.alarm_rate_below() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_trial_that_never_ended_is_an_alarm() {
        let repetitions = read(vec![Event::TrialStarted { trial: "fuse::mounts".into() }, end()]);
        assert_eq!(repetitions.alarms(), 1);
    }
}
