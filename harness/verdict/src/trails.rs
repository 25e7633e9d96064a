//! The evidence of a run, read once.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use evidence::criterion::Criterion;
use evidence::files::SOAKS;
use evidence::place::Place;
use evidence::processor::{Processor, id_of};
use evidence::{
    Environment, Event, GuestEnded, GuestFault, PhaseState, Record, SCHEMA_VERSION, Trail,
    against_the_launcher, read_trail,
};
use serde::{Deserialize, Serialize};

use crate::fate::{self, Fate};
use crate::judge::OlderRecords;
use crate::soak::account::Soak;

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
    pub(crate) soaks: Vec<Soak>,
    host_fates: OnceCell<BTreeMap<String, Fate>>,
    guest_fates: OnceCell<BTreeMap<String, Fate>>,
}

impl Evidence {
    /// Reads a run's directory, with the soaks in it.
    ///
    /// # Errors
    /// Where the directory or a file in it cannot be read, or holds no evidence at all.
    pub fn read(dir: &Path) -> io::Result<Evidence> {
        let [host, guest] = [read_trail(dir, Place::Host)?, read_trail(dir, Place::Guest)?];
        let mut evidence = Evidence { host, guest, ..Evidence::default() };
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

    pub(crate) fn all_records(&self) -> impl Iterator<Item = &Record> {
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

    /// Files of the host's that changed while a guest ran on them.
    pub(crate) fn host_changes(&self) -> Vec<&str> {
        let ends = self.records(Place::Host).filter_map(|record| match &record.event {
            Event::GuestEnded(end) => Some(&end.host_changes),
            _ => None,
        });
        ends.flatten().map(String::as_str).collect()
    }

    /// Whose records these are, where an older vexfs-validate wrote them.
    pub(crate) fn older_records(&self) -> Option<OlderRecords> {
        let version = self.all_records().map(|record| record.v).min()?;
        let environment =
            || self.environment(Place::Host).or_else(|| self.environment(Place::Guest));
        (version < SCHEMA_VERSION)
            .then(|| OlderRecords { version, commit: environment().map(|one| one.commit.clone()) })
    }

    /// What executed the instructions of `place`, as the guest saw it; `None` without a guest.
    pub(crate) fn processor(&self, place: Place) -> Option<Processor> {
        match place {
            Place::Host => Some(Processor::Native),
            Place::Guest => self.environment(place).map(|guest| guest.accelerator),
        }
    }

    pub(crate) fn damage(&self) -> Vec<String> {
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
        let seen = self.processor(Place::Guest);
        if let Some(end) = self.guest_end()
            && seen != Some(end.accelerator.into())
            && self.guest.is_some()
            && !(self.is_part() && self.environment(Place::Guest).is_none())
        {
            damage.push(format!(
                "the guest saw accelerator {}, the launcher gave it {}",
                id_of(seen),
                end.accelerator
            ));
        }
        damage
    }

    pub(crate) fn phases(&self) -> Vec<Phase> {
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

    /// What became of the trials of `criterion` in `place`: those expected, and all others.
    #[must_use]
    pub fn fates(&self, criterion: Criterion, place: Place) -> BTreeMap<String, Fate> {
        let is_of = |trial: &str| Criterion::of_trial(trial) == Some(criterion);
        let all = self.all_fates(place).iter().filter(|(trial, _)| is_of(trial));
        all.map(|(trial, fate)| (trial.clone(), fate.clone())).collect()
    }

    /// What became of every trial in `place`; computed once, since the trails do not change.
    fn all_fates(&self, place: Place) -> &BTreeMap<String, Fate> {
        let fates = match place {
            Place::Host => &self.host_fates,
            Place::Guest => &self.guest_fates,
        };
        fates.get_or_init(|| {
            let expected = self.expected(place).into_iter();
            let mut fates: BTreeMap<String, Fate> =
                expected.map(|trial| (trial, Fate::NotRun)).collect();
            fates.extend(fate::of_records(self.records(place)));
            fates
        })
    }

    /// The trials that `place` must run, as the manifest was when the run began.
    #[must_use]
    pub fn expected(&self, place: Place) -> BTreeSet<String> {
        self.records(Place::Host)
            .filter_map(|record| match &record.event {
                Event::Expected { at, trials } if *at == place => Some(trials),
                _ => None,
            })
            .flatten()
            .cloned()
            .collect()
    }

    /// Headlines on the guest's console that no trial has in its part of the kernel log: what came
    /// between trials, before or after them, and so made none of them fail.
    pub(crate) fn trouble_beside_trials(&self) -> Vec<&str> {
        let logged: Vec<&str> = self
            .records(Place::Guest)
            .filter_map(|record| match &record.event {
                Event::KernelLog { lines, .. } => Some(lines),
                _ => None,
            })
            .flatten()
            .map(String::as_str)
            .collect();
        self.records(Place::Host)
            .filter_map(|record| match &record.event {
                // Where the kernel went down it is accused already.
                Event::GuestEnded(end) if end.fault != GuestFault::Kernel => Some(&end.trouble),
                _ => None,
            })
            .flatten()
            .map(String::as_str)
            .filter(|headline| !logged.iter().any(|line| line.contains(headline)))
            .collect()
    }

    /// Whether it is of a command in the guest (`vexfs-validate guest`), which may run a part of the
    /// guest's trials: nothing was expected of the host. It can show much, and never all.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.expected(Place::Host).is_empty() && !self.expected(Place::Guest).is_empty()
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
