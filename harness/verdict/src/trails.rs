//! The evidence of a run, read once.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use evidence::criterion::Criterion;
use evidence::files::SOAKS;
use evidence::place::Place;
use evidence::processor::{Processor, id_of};
use evidence::{
    EndOfTrail, Environment, Event, GuestEnded, GuestFault, PhaseState, Record, SCHEMA_VERSION,
    Trail, against_the_launcher, read_trail,
};
use serde::{Deserialize, Serialize};

use crate::index::{Fact, TrailIndex};
use crate::soak::account::Soak;
use crate::trial_end::TrialEnd;

/// Records in an older format, which can still be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlderRecords {
    /// Their version; see [`evidence::SCHEMA_VERSION`].
    pub version: u32,
    /// The commit that wrote them, if it was recorded.
    pub commit: Option<String>,
}

impl fmt::Display for OlderRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.as_deref().unwrap_or("unknown");
        write!(
            f,
            "the records are of version {}, written by the vexfs-validate of commit {commit}; this \
             one writes version {SCHEMA_VERSION}",
            self.version
        )
    }
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
    /// Details for a person.
    pub note: String,
}

/// The evidence of a run, from both places, and the soaks that belong to it.
#[derive(Default)]
pub struct Evidence {
    host: Option<Trail>,
    guest: Option<Trail>,
    host_index: TrailIndex,
    guest_index: TrailIndex,
    pub(crate) soaks: Vec<Soak>,
}

impl Evidence {
    /// Reads a run's directory, including the soaks in it.
    ///
    /// # Errors
    /// If the directory or a file in it cannot be read, or it holds no evidence at all.
    pub fn read(dir: &Path) -> io::Result<Evidence> {
        let [host, guest] = [read_trail(dir, Place::Host)?, read_trail(dir, Place::Guest)?];
        let mut evidence = Evidence::of(host, guest);
        if evidence.host.is_none() && evidence.guest.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} holds no evidence (no host.jsonl, no guest.jsonl)", dir.display()),
            ));
        }
        evidence.add_soaks(&soaks_in(&dir.join(SOAKS))?)?;
        Ok(evidence)
    }

    fn of(host: Option<Trail>, guest: Option<Trail>) -> Evidence {
        let on_host = records(host.as_ref());
        let host_index = TrailIndex::of(Place::Host, on_host, on_host);
        let guest_index = TrailIndex::of(Place::Guest, records(guest.as_ref()), on_host);
        Evidence { host, guest, host_index, guest_index, soaks: Vec::new() }
    }

    /// Reads what the host has written since [`Evidence::read`].
    pub fn catch_up(&mut self, dir: &Path) -> io::Result<()> {
        let host = read_trail(dir, Place::Host)?;
        let soaks = std::mem::take(&mut self.soaks);
        *self = Evidence { soaks, ..Evidence::of(host, self.guest.take()) };
        Ok(())
    }

    /// Reads further soaks, which are judged together with the run's own.
    ///
    /// # Errors
    /// If a directory cannot be read, or holds no soak.
    pub fn add_soaks(&mut self, dirs: &[PathBuf]) -> io::Result<()> {
        for dir in dirs {
            self.soaks.push(Soak::read(dir)?);
        }
        Ok(())
    }

    /// The soaks.
    pub fn soaks(&self) -> &[Soak] {
        &self.soaks
    }

    fn trail(&self, place: Place) -> Option<&Trail> {
        match place {
            Place::Host => self.host.as_ref(),
            Place::Guest => self.guest.as_ref(),
        }
    }

    /// Where the trail of `place` ended when it was read.
    pub(crate) fn end(&self, place: Place) -> Option<EndOfTrail> {
        self.trail(place)?.end()
    }

    /// The records that were written in `place`.
    pub fn records(&self, place: Place) -> std::slice::Iter<'_, Record> {
        records(self.trail(place)).iter()
    }

    /// The machine of `place`, from its first environment record.
    pub fn environment(&self, place: Place) -> Option<&Environment> {
        self.records(place).find_map(|record| match &record.event {
            Event::Environment(environment) => Some(&**environment),
            _ => None,
        })
    }

    pub(crate) fn all_records(&self) -> impl Iterator<Item = &Record> {
        Place::ALL.into_iter().flat_map(|place| self.records(place))
    }

    /// How each guest ended, boot after boot.
    pub(crate) fn guest_ends(&self) -> impl Iterator<Item = &GuestEnded> {
        self.records(Place::Host).filter_map(|record| match &record.event {
            Event::GuestEnded(end) => Some(end),
            _ => None,
        })
    }

    /// How the guest ended; if there were several boots, the worst end.
    pub fn guest_end(&self) -> Option<&GuestEnded> {
        self.guest_ends().max_by_key(|end| match end.fault {
            GuestFault::None => 0,
            GuestFault::Other => 1,
            GuestFault::Kernel => 2,
        })
    }

    /// Files of the host that changed while a guest was running on them.
    pub(crate) fn host_changes(&self) -> Vec<&str> {
        self.guest_ends().flat_map(|end| &end.host_changes).map(String::as_str).collect()
    }

    /// Which older vexfs-validate wrote the records, if one did.
    pub(crate) fn older_records(&self) -> Option<OlderRecords> {
        let version = self.all_records().map(|record| record.v).min()?;
        let environment =
            || self.environment(Place::Host).or_else(|| self.environment(Place::Guest));
        (version < SCHEMA_VERSION)
            .then(|| OlderRecords { version, commit: environment().map(|one| one.commit.clone()) })
    }

    /// What executed the instructions of `place`; in the guest, as the guest saw it. `None` without
    /// a guest.
    pub(crate) fn processor(&self, place: Place) -> Option<Processor> {
        match place {
            Place::Host => Some(Processor::Native),
            Place::Guest => self.environment(place).map(|guest| guest.accelerator),
        }
    }

    pub(crate) fn damage(&self) -> Vec<String> {
        let mut damage: Vec<String> = Place::ALL
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

    fn index(&self, place: Place) -> &TrailIndex {
        match place {
            Place::Host => &self.host_index,
            Place::Guest => &self.guest_index,
        }
    }

    /// How the trials of `criterion` ended in `place`, by name, whether they were expected or not.
    pub fn trial_ends(
        &self,
        criterion: Criterion,
        place: Place,
    ) -> impl Iterator<Item = (&str, &TrialEnd)> {
        self.index(place).ends(criterion)
    }

    /// How `trial` ended in `place`; `None` if it was not expected and nothing is known about it.
    pub(crate) fn trial_end(&self, trial: &str, place: Place) -> Option<&TrialEnd> {
        self.index(place).end(trial)
    }

    /// The facts called `name` that trials recorded in `place`, in order.
    pub(crate) fn facts(&self, place: Place, name: &str) -> impl Iterator<Item = Fact<'_>> {
        self.index(place).facts(records(self.trail(place)), name)
    }

    /// The facts called `name`, the host's first.
    pub(crate) fn all_facts(&self, name: &str) -> impl Iterator<Item = Fact<'_>> {
        Place::ALL.into_iter().flat_map(move |place| self.facts(place, name))
    }

    /// The trials that `place` must run, according to the manifest when the run began.
    pub fn expected(&self, place: Place) -> &BTreeSet<String> {
        &self.index(place).expected
    }

    /// Kernel trouble on the guest's console that no trial's part of the kernel log contains. It
    /// came between trials, before or after them, and so made none of them fail.
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
        self.guest_ends()
            // A kernel that went down is reported already.
            .filter(|end| end.fault != GuestFault::Kernel)
            .flat_map(|end| &end.trouble)
            .map(String::as_str)
            .filter(|headline| !logged.iter().any(|line| line.contains(headline)))
            .collect()
    }

    /// Whether a command in the guest wrote it (`vexfs-validate guest`). Such a command may run
    /// only some of the guest's trials and expects nothing of the host, so it never shows a whole
    /// run.
    pub fn is_part(&self) -> bool {
        self.expected(Place::Host).is_empty() && !self.expected(Place::Guest).is_empty()
    }
}

fn records(trail: Option<&Trail>) -> &[Record] {
    trail.map_or(&[], |trail| &trail.records)
}

/// The directories in `dir`, sorted by name; empty if `dir` does not exist.
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
