//! The verdict: a pure function of the evidence.
//!
//! It fails closed. Whatever is missing, cut off, skipped in its own place or not in the
//! expected-tests manifest is INCONCLUSIVE, and only five times PASS is success.

mod bare_metal;
mod decision;
mod judgement;
mod ratios;
mod recorded;
mod soundness;
mod table;
mod trials;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use bare_metal::{BareMetal, Condition};
pub use decision::Decision;
use evidence::criterion::Criterion;
use evidence::exit::{self, Exit};
use evidence::place::Place;
use evidence::{
    Environment, Event, GuestEnded, GuestFault, PhaseState, Record, Trail, against_the_launcher,
    read_trail,
};
pub use judgement::{Judgement, Reason, State};
pub use ratios::{Disturbances, JudgedRatio, recall_below};
pub use recorded::JudgedFigure;
pub use table::{accelerator_name, table};
pub use trials::{Fate, not_run};

use crate::soak::Soak;

/// What a run amounts to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// PASS only if every criterion is.
    pub state: State,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// `kvm`, `tcg` (an emulated CPU), or `none` where no guest ran.
    pub accelerator: String,
    /// The five criteria.
    pub criteria: Vec<CriterionVerdict>,
    /// Whether the module may leave the VM.
    pub bare_metal: BareMetal,
    /// The run's phases, in order.
    pub phases: Vec<Phase>,
    /// What is wrong with the evidence itself.
    pub damage: Vec<String>,
}

/// One criterion's state and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CriterionVerdict {
    /// [`Criterion::id`].
    pub id: Criterion,
    /// [`Criterion::title`].
    pub title: String,
    /// Its state.
    pub state: State,
    /// Trials that passed, over both places.
    pub passed: usize,
    /// Trials that were expected, over both places.
    pub expected: usize,
    /// Why it is not PASS.
    pub reasons: Vec<Reason>,
    /// The ratios measured for it.
    pub ratios: Vec<JudgedRatio>,
    /// Its comparisons with recorded figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recorded: Vec<JudgedFigure>,
    /// What else its evidence proves, in words.
    pub notes: Vec<String>,
}

/// A phase of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub phase: String,
    /// How it ended.
    pub state: PhaseState,
    /// Wall time, by the clock of its place.
    pub seconds: f64,
    /// More, for a person.
    pub note: String,
}

/// The evidence of a run, both places, and the soaks that go with it.
#[derive(Default)]
pub struct Evidence {
    host: Option<Trail>,
    guest: Option<Trail>,
    soaks: Vec<Soak>,
}

/// Directory of a run that holds the directories of its soaks.
pub const SOAKS: &str = "soak";

impl Evidence {
    /// Reads a run's directory, with the soaks in it.
    ///
    /// # Errors
    /// Where the directory or a file in it cannot be read, or holds no evidence at all.
    pub fn read(dir: &Path) -> io::Result<Evidence> {
        let [host, guest] = [read_trail(dir, Place::Host)?, read_trail(dir, Place::Guest)?];
        let mut evidence = Evidence { host, guest, soaks: Vec::new() };
        if evidence.host.is_none() && evidence.guest.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} holds no evidence (no host.jsonl, no guest.jsonl)", dir.display()),
            ));
        }
        evidence.add_soaks(&soaks_in(&dir.join(SOAKS))?)?;
        Ok(evidence)
    }

    /// Reads further soaks, which are judged with the run's own.
    ///
    /// # Errors
    /// Where a directory cannot be read, or holds no soak.
    pub fn add_soaks(&mut self, dirs: &[PathBuf]) -> io::Result<()> {
        for dir in dirs {
            self.soaks.push(Soak::read(dir)?);
        }
        Ok(())
    }

    /// The soaks.
    #[must_use]
    pub fn soaks(&self) -> &[Soak] {
        &self.soaks
    }

    fn trail(&self, place: Place) -> Option<&Trail> {
        match place {
            Place::Host => self.host.as_ref(),
            Place::Guest => self.guest.as_ref(),
        }
    }

    /// The records that were written in `place`.
    pub fn records(&self, place: Place) -> impl Iterator<Item = &Record> {
        self.trail(place).into_iter().flat_map(|trail| &trail.records)
    }

    /// The machine of `place`, as its first record of one tells.
    #[must_use]
    pub fn environment(&self, place: Place) -> Option<&Environment> {
        self.records(place).find_map(|record| match &record.event {
            Event::Environment(environment) => Some(&**environment),
            _ => None,
        })
    }

    fn all_records(&self) -> impl Iterator<Item = &Record> {
        self.records(Place::Host).chain(self.records(Place::Guest))
    }

    /// How the guest ended; of several boots the one that ended worst.
    #[must_use]
    pub fn guest_end(&self) -> Option<&GuestEnded> {
        let ends = self.records(Place::Host).filter_map(|record| match &record.event {
            Event::GuestEnded(end) => Some(end),
            _ => None,
        });
        ends.max_by_key(|end| match end.fault {
            GuestFault::None => 0,
            GuestFault::Other => 1,
            GuestFault::Kernel => 2,
        })
    }

    /// The accelerator that the guest saw, `none` without a guest.
    fn accelerator(&self) -> String {
        self.environment(Place::Guest).map_or("none", |guest| &guest.accelerator).to_owned()
    }

    fn damage(&self) -> Vec<String> {
        let mut damage: Vec<String> = [Place::Host, Place::Guest]
            .into_iter()
            .filter_map(|place| self.trail(place))
            .flat_map(|trail| {
                trail
                    .damage
                    .iter()
                    .map(|one| format!("{} evidence, line {}: {}", trail.place, one.line, one.what))
            })
            .collect();
        damage.extend(against_the_launcher(self.host.as_ref(), self.guest.as_ref()));
        if let Some(end) = self.guest_end()
            && self.accelerator() != end.accelerator
            && self.guest.is_some()
            && !(self.is_part() && self.environment(Place::Guest).is_none())
        {
            damage.push(format!(
                "the guest saw accelerator {}, the launcher gave it {}",
                self.accelerator(),
                end.accelerator
            ));
        }
        damage
    }

    fn phases(&self) -> Vec<Phase> {
        let mut ended: Vec<(u64, Phase)> = self
            .all_records()
            .filter_map(|record| match &record.event {
                Event::PhaseFinished { phase, state, seconds, note } => Some((
                    record.time_ms,
                    Phase {
                        phase: phase.clone(),
                        state: *state,
                        seconds: *seconds,
                        note: note.clone(),
                    },
                )),
                _ => None,
            })
            .collect();
        ended.sort_by_key(|(time, _)| *time);
        ended.into_iter().map(|(_, phase)| phase).collect()
    }
}

/// The directories in `dir`, by name; none where it is not there.
fn soaks_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut dirs: Vec<PathBuf> = paths
        .filter(|path| path.as_ref().is_ok_and(|path| path.is_dir()))
        .collect::<Result<_, _>>()?;
    dirs.sort();
    Ok(dirs)
}

/// Judges the evidence.
#[must_use]
pub fn of(evidence: &Evidence) -> Verdict {
    let damage = evidence.damage();
    let criteria = criteria(evidence, &[Place::Host, Place::Guest], &damage);
    let state = criteria.iter().map(|one| one.state).max().unwrap_or(State::Inconclusive);
    let accelerator = evidence.accelerator();
    Verdict {
        state,
        exit_code: exit_of(state).code,
        bare_metal: BareMetal::of(evidence, &criteria),
        accelerator,
        phases: evidence.phases(),
        criteria,
        damage,
    }
}

/// The criteria as far as they belong in the guest; what the host must show is left out.
#[must_use]
pub fn in_the_guest(evidence: &Evidence) -> Vec<CriterionVerdict> {
    criteria(evidence, &[Place::Guest], &evidence.damage())
}

fn criteria(evidence: &Evidence, places: &[Place], damage: &[String]) -> Vec<CriterionVerdict> {
    let judge = |criterion| judge(criterion, evidence, places, damage);
    Criterion::ALL.into_iter().map(judge).collect()
}

/// The exit code of a state.
#[must_use]
pub fn exit_of(state: State) -> Exit {
    match state {
        State::Pass => exit::SUCCESS,
        State::Fail => exit::FAIL,
        State::Inconclusive => exit::INCONCLUSIVE,
    }
}

fn judge(
    criterion: Criterion,
    evidence: &Evidence,
    places: &[Place],
    damage: &[String],
) -> CriterionVerdict {
    let mut judgement = Judgement::default();
    for what in damage {
        judgement.inconclusive(format!("the evidence is damaged: {what}"));
    }
    let count = trials::judge(criterion, evidence, places, &mut judgement);
    let ratios = ratios::judge(criterion, evidence, places, &mut judgement);
    let recorded = recorded::judge(criterion, evidence, places, &mut judgement);
    CriterionVerdict {
        id: criterion,
        title: criterion.title().to_owned(),
        state: judgement.state(),
        passed: count.passed,
        expected: count.expected,
        reasons: judgement.into_reasons(),
        ratios,
        recorded,
        notes: if criterion == Criterion::Module { stability(evidence) } else { Vec::new() },
    }
}

/// What the load/unload cycles of trials that held prove, recomputed from their number.
fn stability(evidence: &Evidence) -> Vec<String> {
    let fates = evidence.fates(Criterion::Module, Place::Guest);
    evidence
        .records(Place::Guest)
        .filter_map(|record| match &record.event {
            Event::Fact { trial, name, value }
                if name == "cycles" && fates.get(trial) == Some(&Fate::Passed) =>
            {
                u32::try_from(value["microseconds"].as_array()?.len()).ok().filter(|&n| n > 0)
            }
            _ => None,
        })
        .map(|cycles| {
            let bound = evidence::stats::failure_rate_bound(cycles, 0.05) * 100.0;
            format!(
                "{cycles} of {cycles} load/unload cycles without a failure prove a failure rate \
                 below {bound:.2} % a cycle at 95 %"
            )
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
