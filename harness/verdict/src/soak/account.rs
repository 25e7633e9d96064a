//! The result of a soak, computed again from the evidence in its directory.

use std::io;
use std::path::Path;

use evidence::environment::OWN_MODULE_SOURCES;
use evidence::facts::{MODULE, SOAK_CYCLE, SOAK_TRIAL, SoakCycle};
use evidence::place::Place;
use evidence::processor::{Processor, or_none};
use evidence::series::is_of_series;
use evidence::stats::{clopper_pearson_upper, median};
use evidence::thresholds::{Endurance, SOAK_ALPHA};
use evidence::{
    EndOfTrail, Event, GuestEnded, GuestFault, Record, Trail, TrialState, against_the_launcher,
    read_trail,
};
use serde::{Deserialize, Serialize};

use crate::trial_end::UNENDED;

/// Memory growth that is tolerated; a leak of 4 KiB a cycle would be four times as much.
const GROWTH_KIB_A_CYCLE: f64 = 1.0;
/// Growth that is always tolerated, because the kernel's own memory fluctuates by that much.
const GROWTH_KIB_AT_LEAST: f64 = 1024.0;
/// With fewer cycles than this, growth cannot be judged: the first cycles fill the kernel's own
/// caches.
const CYCLES_TO_TELL_GROWTH: usize = 40;

/// A soak: what was done, on which system, and what went wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Soak {
    /// Name of its directory.
    pub name: String,
    /// `uname -r` of the guest.
    pub kernel_release: String,
    /// What executed the guest.
    #[serde(with = "or_none")]
    pub accelerator: Option<Processor>,
    /// Commit of the checkout.
    pub commit: String,
    /// The module's `srcversion`: a hash of its C sources.
    pub srcversion: String,
    /// SHA-256 of the module file.
    pub module_sha256: String,
    /// SHA-256 of the module's sources, if it is somebody's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_sources: Option<String>,
    /// Cycles that passed.
    pub cycles: u32,
    /// Cycles that failed; the first ends the soak.
    pub failures: u32,
    /// Total time of the cycles that passed.
    pub microseconds: u64,
    /// Searches answered.
    pub searches: u64,
    /// Rows written.
    pub writes: u64,
    /// Attempts to unload under load that were refused, as they must be.
    pub refused: u64,
    /// Upper bound of the failure rate of a cycle, at 95 %.
    pub failure_rate_below: f64,
    /// Growth of the kernel's memory in KiB: the median of the last cycles minus the median of as
    /// many cycles after the first tenth. `None` if there are too few cycles.
    pub memory_growth_kib: Option<f64>,
    /// What went wrong; empty if the soak passed.
    pub faults: Vec<String>,
    /// Where its trails ended when they were read, for an attestation; not in the verdict.
    #[serde(skip)]
    pub ends: Vec<EndOfTrail>,
    /// The cycles, for the report; not in the verdict.
    #[serde(skip)]
    pub history: Vec<SoakCycle>,
}

impl Soak {
    /// Reads the directory of a soak.
    ///
    /// # Errors
    /// If the directory cannot be read, or holds no evidence of a soak.
    pub fn read(dir: &Path) -> io::Result<Soak> {
        let name = std::fs::canonicalize(dir)?;
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let [host, guest] = [read_trail(dir, Place::Host)?, read_trail(dir, Place::Guest)?];
        let is_soak = |record: &Record| match &record.event {
            Event::Expected { trials, .. } => trials.iter().any(|trial| trial == SOAK_TRIAL),
            _ => false,
        };
        if !host.iter().flat_map(|trail| &trail.records).any(is_soak) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} holds no soak of the module (soak --for)", dir.display()),
            ));
        }
        Ok(Soak::of(name, host.as_ref(), guest.as_ref()))
    }

    pub(super) fn of(name: String, host: Option<&Trail>, guest: Option<&Trail>) -> Soak {
        let mut soak = Soak { name, ..Soak::default() };
        for trail in [host, guest].into_iter().flatten() {
            soak.ends.extend(trail.end());
            let place = trail.place;
            let damage = |one: &evidence::Damage| {
                format!("{place} evidence, line {}: {}", one.line, one.what)
            };
            soak.faults.extend(trail.damage.iter().map(damage));
        }
        soak.faults.extend(against_the_launcher(host, guest));
        let mut finished = false;
        for record in guest.into_iter().flat_map(|trail| &trail.records) {
            finished |= soak.take(&record.event);
        }
        let end =
            host.into_iter().flat_map(|trail| &trail.records).rev().find_map(
                |record| match &record.event {
                    Event::GuestEnded(end) => Some(end),
                    _ => None,
                },
            );
        match end {
            None => soak.faults.push("there is no word on how its guest ended".to_owned()),
            Some(end) => soak.take_end(end, finished),
        }
        if !finished {
            soak.faults.push(format!("it {UNENDED}"));
        }
        let tried = soak.cycles + soak.failures;
        soak.failure_rate_below = clopper_pearson_upper(soak.failures, tried, SOAK_ALPHA);
        soak.look_at_memory();
        soak
    }

    /// Accounts for a record of the guest, and returns whether it ends the soak.
    fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::Environment(one) => {
                self.kernel_release.clone_from(&one.kernel_release);
                self.accelerator = Some(one.accelerator);
                self.commit.clone_from(&one.commit);
                self.module_sha256 = one.programs.get("vexfs.ko").cloned().unwrap_or_default();
                self.own_sources = one.programs.get(OWN_MODULE_SOURCES).cloned();
            }
            Event::Fact { trial, name, value } if trial == SOAK_TRIAL && name == MODULE => {
                value["srcversion"].as_str().unwrap_or_default().clone_into(&mut self.srcversion);
            }
            Event::Fact { trial, name, value } if trial == SOAK_TRIAL && name == SOAK_CYCLE => {
                match serde_json::from_value(value.clone()) {
                    Ok(cycle) => self.count(cycle),
                    Err(error) => self.faults.push(format!("a cycle cannot be read: {error}")),
                }
            }
            Event::TrialFinished { trial, state, message, .. } if trial == SOAK_TRIAL => {
                if *state != TrialState::Passed {
                    self.failures += 1;
                    self.faults.push(message.clone());
                }
                return true;
            }
            _ => {}
        }
        false
    }

    /// Accounts for the guest's end as the launcher recorded it; anything but success is a fault.
    fn take_end(&mut self, end: &GuestEnded, finished: bool) {
        if end.fault != GuestFault::None {
            self.faults.push(end.how.clone());
            self.failures += u32::from(end.fault == GuestFault::Kernel && !finished);
            return;
        }
        if end.code != Some(0) {
            self.faults.push(format!("it did not succeed: {}", end.how));
        }
        self.faults.extend(end.trouble.iter().map(|one| format!("the guest's kernel told: {one}")));
        if let Some(seen) = self.accelerator
            && seen != end.accelerator.into()
        {
            self.faults.push(format!(
                "the guest saw accelerator {seen}, the launcher gave it {}",
                end.accelerator
            ));
        }
    }

    fn count(&mut self, cycle: SoakCycle) {
        if cycle.number != self.cycles {
            let number = cycle.number;
            self.faults.push(format!("cycle {number}, expected {}", self.cycles));
        }
        if cycle.live_allocations > 0 {
            let (number, live) = (cycle.number, cycle.live_allocations);
            self.faults.push(format!("{live} allocations outlive the module in cycle {number}"));
        }
        self.cycles += 1;
        self.microseconds += cycle.microseconds;
        self.searches += cycle.searches;
        self.writes += cycle.writes;
        self.refused += u64::from(cycle.refused);
        self.history.push(cycle);
    }

    fn look_at_memory(&mut self) {
        let kib: Vec<f64> =
            self.history.iter().map(|cycle| cycle.kernel_memory_kib as f64).collect();
        let count = kib.len();
        if count < CYCLES_TO_TELL_GROWTH {
            return;
        }
        let part = count / 5;
        let early = median(&kib[count / 10..count / 10 + part]);
        let (Some(early), Some(late)) = (early, median(&kib[count - part..])) else { return };
        let apart = (count - part - count / 10) as f64;
        let tolerance = (GROWTH_KIB_A_CYCLE * apart).max(GROWTH_KIB_AT_LEAST);
        self.memory_growth_kib = Some(late - early);
        if late - early > tolerance {
            self.faults.push(format!(
                "the kernel holds {:.0} KiB more in the last fifth of {count} cycles, more than \
                 {tolerance:.0} KiB: a leak",
                late - early
            ));
        }
    }

    /// The kernel series of `due` that it ran on.
    pub fn series(&self, due: &Endurance) -> Option<&'static str> {
        due.kernels.iter().find(|series| is_of_series(&self.kernel_release, series)).copied()
    }

    /// Why it falls short of the endurance `due`.
    pub fn shortfall(&self, due: &Endurance) -> Vec<String> {
        let mut short = self.faults.clone();
        if self.microseconds < due.seconds * 1_000_000 {
            short.push(format!("{:.0} of {} s under load", self.seconds(), due.seconds));
        }
        if self.cycles < due.cycles {
            short.push(format!("{} of {} cycles", self.cycles, due.cycles));
        }
        if self.kernel_release.is_empty() {
            short.push("its guest left no word of its kernel".to_owned());
        } else if self.series(due).is_none() {
            let matrix = due.kernels.join(", ");
            short.push(format!("kernel {} is not of the matrix ({matrix})", self.kernel_release));
        }
        short
    }

    /// Total time of the cycles that passed, in seconds.
    pub fn seconds(&self) -> f64 {
        self.microseconds as f64 / 1e6
    }

    /// What it proves, in one line.
    pub fn summary(&self) -> String {
        let Soak { kernel_release, cycles, searches, writes, refused, .. } = self;
        let seconds = self.seconds();
        let memory = self.memory_growth_kib.map_or_else(
            || format!("fewer than {CYCLES_TO_TELL_GROWTH} cycles tell no growth of kernel memory"),
            |growth| format!("kernel memory {growth:+.0} KiB"),
        );
        let kernel_release = if kernel_release.is_empty() { "unknown" } else { kernel_release };
        format!(
            "kernel {kernel_release}: {cycles} cycles in {seconds:.0} s with {searches} searches, \
             {writes} writes and {refused} unloads refused under load; {} failed: a failure rate \
             below {:.2} % a cycle at 95 %; {memory}",
            self.failures,
            self.failure_rate_below * 100.0
        )
    }
}
