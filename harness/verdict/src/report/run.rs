//! A run's directory, read for its report, even if the run was interrupted or damaged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evidence::clock::Clock;
use evidence::criterion::Criterion;
use evidence::files::{self, CONSOLE_FILE, LAUNCH_FILE, SABOTAGE, SANITIZED, VERDICT_FILE};
use evidence::guest::GuestLaunch;
use evidence::place::Place;
use evidence::{Environment, Event, GuestEnded, Measurement, Record};

use super::sanitized::Sanitized;
use crate::judge::{self, Verdict};
use crate::sabotage::Account;
use crate::trails::Evidence;
use crate::trial_end::{TrialEnd, UNENDED};

/// Everything that a report is made from.
pub struct Run {
    /// The directory's name.
    pub name: String,
    /// The verdict, computed again from the evidence.
    pub verdict: Verdict,
    /// The evidence.
    pub evidence: Evidence,
    /// How the guest was first launched, if it was.
    pub launch: Option<GuestLaunch>,
    /// Every boot of the guest, in order.
    pub boots: Vec<Boot>,
    /// The guest kernel's console, if a guest ran.
    pub console: Option<Vec<String>>,
    /// Saboteurs, and which of them were found.
    pub sabotage: Account,
    /// What the kernel with sanitizers reported, if it was used.
    pub sanitized: Option<Sanitized>,
    /// What a complete run has and this run lacks.
    pub missing: Vec<String>,
}

/// A boot of the guest.
pub struct Boot {
    /// How it was launched.
    pub launch: GuestLaunch,
    /// How it ended; `None` if that was not recorded.
    pub end: Option<GuestEnded>,
}

/// The boots that the launcher recorded.
fn boots(evidence: &Evidence) -> Vec<Boot> {
    let mut boots: Vec<Boot> = Vec::new();
    for record in evidence.records(Place::Host) {
        match (&record.event, boots.last_mut()) {
            (Event::GuestLaunched(launch), _) => {
                boots.push(Boot { launch: (**launch).clone(), end: None });
            }
            (Event::GuestEnded(end), Some(boot)) => boot.end = Some(end.clone()),
            _ => {}
        }
    }
    boots
}

/// Whether `dir` has no evidence file at all, as opposed to one that cannot be read.
fn has_no_evidence(dir: &Path) -> bool {
    Place::ALL.into_iter().all(|place| {
        let file = fs::symlink_metadata(dir.join(files::trail(place)));
        file.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    })
}

fn lines(console: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(console).lines().map(|line| line.trim_end().to_owned()).collect()
}

impl Run {
    /// Reads `dir`, and the directories of further soaks that count for it.
    ///
    /// # Errors
    /// As [`Evidence::read`]. It is no error if only the launcher's file is there. Anything else
    /// that is missing is named in the report.
    pub fn read(dir: &Path, soaks: &[PathBuf]) -> io::Result<Run> {
        let launched_only = dir.join(LAUNCH_FILE).is_file() && has_no_evidence(dir);
        let mut evidence = if launched_only { Evidence::default() } else { Evidence::read(dir)? };
        evidence.add_soaks(soaks)?;
        let verdict = judge::of(&evidence);
        Run::of(dir, evidence, verdict)
    }

    /// The run in `dir`, whose evidence has already been read and judged.
    pub fn of(dir: &Path, evidence: Evidence, verdict: Verdict) -> io::Result<Run> {
        let name = fs::canonicalize(dir)?;
        let mut unreadable = Vec::new();
        let mut named = |name: &str, error: &dyn std::fmt::Display| {
            unreadable.push(format!("{name}: it cannot be read: {error}"));
        };
        let is_there = |name: &str| fs::symlink_metadata(dir.join(name)).is_ok();
        let console = match fs::read(dir.join(CONSOLE_FILE)) {
            Ok(bytes) => Some(lines(&bytes)),
            Err(error) => {
                if is_there(CONSOLE_FILE) {
                    named(CONSOLE_FILE, &error);
                }
                None
            }
        };
        let boots = boots(&evidence);
        let launch = match (boots.first(), GuestLaunch::read(dir)) {
            (Some(first), _) => Some(first.launch.clone()),
            (None, Ok(launch)) => Some(launch),
            (None, Err(error)) => {
                if is_there(LAUNCH_FILE) {
                    named(LAUNCH_FILE, &error);
                }
                None
            }
        };
        let sabotage = if is_there(SABOTAGE) {
            Account::read(&dir.join(SABOTAGE)).unwrap_or_else(|failure| {
                named(SABOTAGE, &failure);
                Account::default()
            })
        } else {
            Account::default()
        };
        let sanitized = Sanitized::read(&dir.join(SANITIZED));
        if sanitized.is_none() && is_there(SANITIZED) {
            named(SANITIZED, &"there is no evidence of the kernel with sanitizers in it");
        }
        let mut run = Run {
            name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            verdict,
            launch,
            boots,
            console,
            sabotage,
            sanitized,
            missing: Vec::new(),
            evidence,
        };
        run.missing = run.look_for_missing(dir);
        run.missing.extend(unreadable);
        Ok(run)
    }

    fn look_for_missing(&self, dir: &Path) -> Vec<String> {
        let mut missing = self.verdict.damage.clone();
        for place in Place::ALL {
            let file = files::trail(place);
            if self.evidence.records(place).next().is_none() {
                missing.push(format!("{file}: there is no record of the {place}"));
            } else if self.environment(place).is_none() {
                missing.push(format!("{file} does not say on what machine it was written"));
            }
            let unended = self.trial_ends(place).filter(|(_, end)| **end == TrialEnd::Began);
            missing
                .extend(unended.map(|(trial, end)| format!("{trial} ({place}) {}", end.words())));
        }
        for phase in self.unfinished_phases() {
            missing.push(format!("phase {phase} {UNENDED}: the run was interrupted"));
        }
        if self.evidence.guest_end().is_none() {
            missing.push("the launcher left no word on how the guest ended".to_owned());
        }
        for (file, what) in [
            (LAUNCH_FILE, "how the guest was launched is not known"),
            (CONSOLE_FILE, "there is no console of the guest"),
            (VERDICT_FILE, "the run did not come to its verdict; this page judges what is there"),
        ] {
            if !dir.join(file).is_file() {
                missing.push(format!("{file}: {what}"));
            }
        }
        missing
    }

    fn unfinished_phases(&self) -> Vec<String> {
        let mut begun: Vec<String> = Vec::new();
        for record in self.records() {
            match &record.event {
                Event::PhaseStarted { phase } => begun.push(phase.clone()),
                Event::PhaseFinished { phase, .. } => begun.retain(|one| one != phase),
                _ => {}
            }
        }
        begun
    }

    /// All records, the host's first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.evidence.all_records()
    }

    /// The machine of a place.
    pub fn environment(&self, place: Place) -> Option<&Environment> {
        self.evidence.environment(place)
    }

    /// The commit that was tested, with `-dirty` if the checkout had changes.
    pub fn commit(&self) -> Option<&str> {
        let environment = Place::ALL.into_iter().find_map(|place| self.environment(place));
        environment.map(|one| one.commit.as_str()).filter(|commit| *commit != "unknown")
    }

    /// Measurements with the place of each.
    pub fn measurements(&self) -> impl Iterator<Item = (Place, &Measurement)> {
        self.records().filter_map(|record| match &record.event {
            Event::Measurement(one) => Some((record.place, &**one)),
            _ => None,
        })
    }

    /// How every trial of a place ended, in the order of criteria and names.
    pub fn trial_ends(&self, place: Place) -> impl Iterator<Item = (&str, &TrialEnd)> {
        let criteria = Criterion::ALL.into_iter();
        criteria.flat_map(move |criterion| self.evidence.trial_ends(criterion, place))
    }

    /// How the guest with this environment was launched, if that is known.
    pub fn launch_of(&self, guest: &Environment) -> Option<&GuestLaunch> {
        let clock = guest.clock.unwrap_or(Clock::Wall);
        let fits =
            |launch: &&GuestLaunch| launch.clock == clock && launch.detectors == guest.detectors;
        let launches = self.boots.iter().rev().map(|boot| &boot.launch);
        launches.into_iter().find(fits).or(self.launch.as_ref())
    }

    /// The guest's kernel, if it is known.
    pub fn guest_kernel(&self) -> Option<&str> {
        let launched = self.launch.as_ref().map(|launch| launch.kernel_release.as_str());
        let seen = self.environment(Place::Guest).map(|guest| guest.kernel_release.as_str());
        seen.or(launched)
    }
}
