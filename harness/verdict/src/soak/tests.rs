//! Soaks made up record by record.

use evidence::guest::Accelerator;
use evidence::processor::Processor;
use std::path::{Path, PathBuf};

use evidence::facts::{MODULE, SOAK_CYCLE, SOAK_TRIAL, SoakCycle};
use evidence::place::Place;
use evidence::thresholds::{ENDURANCE, Endurance};
use evidence::{
    EndOfTrail, Event, GuestEnded, GuestFault, Record, SCHEMA_VERSION, Trail, TrialState, Writer,
    end_of_trail,
};
use serde_json::json;

use super::*;
use crate::made::{finished, machine};

/// The `srcversion` of the tests' modules.
pub(crate) const SRCVERSION: &str = "0123456789ABCDEF0123456";

/// A soak of made-up cycles, as events of host and guest.
pub(crate) struct MadeSoak {
    pub(crate) host: Vec<Event>,
    pub(crate) guest: Vec<Event>,
}

pub(crate) fn cycle(number: u32) -> SoakCycle {
    SoakCycle {
        number,
        microseconds: 7_200_000,
        loads: vec!["fio".into()],
        searches: 50,
        writes: 40,
        refused: 100,
        kernel_memory_kib: 60_000 + i64::from(number % 7) * 8,
        live_allocations: 0,
        log_lines: 0,
    }
}

pub(crate) fn fact(name: &str, value: impl serde::Serialize) -> Event {
    let value = serde_json::to_value(value).unwrap();
    Event::Fact { trial: SOAK_TRIAL.into(), name: name.into(), value }
}

impl MadeSoak {
    /// A soak of `cycles` successful cycles of 7.2 s on `kernel_release`.
    pub(crate) fn held(kernel_release: &str, cycles: u32) -> MadeSoak {
        let mut environment = machine(Processor::Tcg);
        environment.kernel_release = kernel_release.into();
        environment.commit = "c0ffee".into();
        environment.programs = [("vexfs.ko".into(), "5ha".into())].into();
        let [started, ended] = finished(SOAK_TRIAL, TrialState::Passed, "");
        let mut guest = vec![Event::Environment(Box::new(environment)), started];
        guest.push(fact(MODULE, json!({"vermagic": kernel_release, "srcversion": SRCVERSION})));
        guest.extend((0..cycles).map(|number| fact(SOAK_CYCLE, cycle(number))));
        guest.push(ended);
        let host = vec![
            Event::Expected { at: Place::Guest, trials: vec![SOAK_TRIAL.into()] },
            Event::GuestEnded(GuestEnded {
                how: "the guest's command ended with status 0".into(),
                fault: GuestFault::None,
                code: Some(0),
                console_tail: vec![],
                trouble: vec![],
                host_changes: vec![],
                boot_seconds: Some(15.0),
                first_output_seconds: Some(16.0),
                total_seconds: 7300.0,
                accelerator: Accelerator::Tcg,
                evidence: None,
            }),
        ];
        MadeSoak { host, guest }
    }

    /// Writes the soak as directory `name` in `parent`.
    fn write(self, parent: &Path, name: &str) -> PathBuf {
        let dir = parent.join(name);
        for (place, events) in [(Place::Guest, self.guest), (Place::Host, self.host)] {
            let seen = end_of_trail(&dir, Place::Guest).unwrap();
            let writer = Writer::open(&dir, place).unwrap();
            for mut event in events {
                if let Event::GuestEnded(end) = &mut event {
                    end.evidence.clone_from(&seen);
                }
                writer.write(event).unwrap();
            }
        }
        dir
    }

    /// The resulting [`Soak`], computed without writing files.
    pub(crate) fn soak(mut self, name: &str) -> Soak {
        let seen =
            EndOfTrail { lines: self.guest.len(), sha256: (self.guest.len() - 1).to_string() };
        for event in &mut self.host {
            if let Event::GuestEnded(end) = event {
                end.evidence = Some(seen.clone());
            }
        }
        let trail = |place, events: Vec<Event>| {
            let hashes = (0..events.len()).map(|line| line.to_string()).collect();
            let record = |(seq, event)| {
                let prev = String::new();
                Record { v: SCHEMA_VERSION, seq, prev, time_ms: 0, place, pid: 1, event }
            };
            let records = (0..).zip(events).map(record).collect();
            Trail { place, records, damage: Vec::new(), hashes }
        };
        let [host, guest] = [trail(Place::Host, self.host), trail(Place::Guest, self.guest)];
        Soak::of(name.to_owned(), Some(&host), Some(&guest))
    }
}

/// Fewer cycles than registered, so that tests need not write a thousand.
const DUE: Endurance = Endurance { cycles: 100, seconds: 720, ..ENDURANCE };

#[test]
fn one_that_held_long_enough_lacks_nothing() {
    let soak = MadeSoak::held("6.12.117+deb12-amd64", 100).soak("made");
    assert_eq!(soak.shortfall(&DUE), Vec::<String>::new());
    assert_eq!(soak.series(&DUE), Some("6.12"));
    assert_eq!((soak.cycles, soak.failures, soak.searches), (100, 0, 5_000));
    assert_eq!(soak.memory_growth_kib, Some(0.0));
    assert!(soak.summary().contains("below 2.95 % a cycle"), "{}", soak.summary());
}

#[rstest::rstest]
#[case::too_few_cycles(|made: &mut MadeSoak| { made.guest.remove(102); }, "99 of 100 cycles")]
#[case::a_gap(|made: &mut MadeSoak| { made.guest.remove(50); }, "cycle 48, expected 47")]
#[case::too_short(
    |made: &mut MadeSoak| made.guest[3] = fact(SOAK_CYCLE, SoakCycle { microseconds: 1, ..cycle(0) }),
    "713 of 720 s"
)]
#[case::another_kernel(|made: &mut MadeSoak| made.guest[0] = MadeSoak::held("6.120.1", 0).guest.remove(0),
    "kernel 6.120.1 is not of the matrix")]
#[case::left_behind(
    |made: &mut MadeSoak| made.guest[9] = fact(SOAK_CYCLE, SoakCycle { live_allocations: 2, ..cycle(6) }),
    "2 allocations outlive the module in cycle 6"
)]
#[case::a_leak(
    |made: &mut MadeSoak| for number in 0..100 {
        let kernel_memory_kib = 60_000 + 40 * i64::from(number);
        made.guest[3 + number as usize] = fact(SOAK_CYCLE, SoakCycle { kernel_memory_kib, ..cycle(number) });
    },
    "a leak"
)]
#[case::no_cycle(|made: &mut MadeSoak| made.guest[3] = fact(SOAK_CYCLE, 7), "a cycle cannot be read")]
#[case::failed(
    |made: &mut MadeSoak| {
        made.guest.pop();
        made.guest.extend(finished(SOAK_TRIAL, TrialState::Failed, "cycle 100: EBUSY"));
    },
    "cycle 100: EBUSY"
)]
#[case::cut_off(|made: &mut MadeSoak| { made.guest.pop(); }, "began and never ended")]
#[case::no_success(
    |made: &mut MadeSoak| if let Event::GuestEnded(end) = &mut made.host[1] {
        (end.code, end.how) = (Some(1), "the guest's command ended with status 1".into());
    },
    "it did not succeed: the guest's command ended with status 1"
)]
#[case::unattended(|made: &mut MadeSoak| { made.host.pop(); }, "no word on how its guest ended")]
fn what_is_wrong_keeps_it_from_counting(#[case] spoil: fn(&mut MadeSoak), #[case] words: &str) {
    let mut made = MadeSoak::held("6.1.0-56-amd64", 100);
    spoil(&mut made);
    let short = made.soak("made").shortfall(&DUE).join("; ");
    assert!(short.contains(words), "{short}");
}

#[test]
fn a_panic_is_a_failed_cycle() {
    let mut made = MadeSoak::held("6.1.0-56-amd64", 30);
    made.guest.pop();
    if let Event::GuestEnded(end) = &mut made.host[1] {
        (end.fault, end.how) = (GuestFault::Kernel, "the guest's kernel panicked".into());
    }
    let soak = made.soak("made");
    assert_eq!((soak.cycles, soak.failures), (30, 1));
    // 95 % of Beta(2, 30).
    assert!((soak.failure_rate_below - 0.144).abs() < 1e-3, "{}", soak.failure_rate_below);
    assert!(soak.faults.iter().any(|one| one.contains("panicked")));
}

#[test]
fn evidence_that_was_changed_keeps_it_from_counting() {
    let dir = tempfile::tempdir().unwrap();
    let soak = MadeSoak::held("6.12.117+deb12-amd64", 100).write(dir.path(), "soak");
    let path = soak.join("guest.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text.replacen("7200000", "7200001", 1)).unwrap();
    assert!(Soak::read(&soak).unwrap().shortfall(&DUE)[0].contains("does not follow from"));
}

/// The last line holds the soak's result, and no other line holds its hash.
#[test]
fn a_failure_that_was_made_a_pass_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = MadeSoak::held("6.12.117+deb12-amd64", 100);
    made.guest.pop();
    made.guest.extend(finished(SOAK_TRIAL, TrialState::Failed, "").into_iter().skip(1));
    let soak = made.write(dir.path(), "soak");
    let path = soak.join("guest.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"failed\"", "\"passed\"", 1)).unwrap();
    let short = Soak::read(&soak).unwrap().shortfall(&DUE);
    assert_eq!(short.len(), 1, "{short:?}");
    assert!(short[0].contains("was another one when the guest ended"), "{short:?}");
}

#[test]
fn what_is_no_soak_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Soak::read(dir.path()).is_err());
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs/emulated");
    assert!(Soak::read(&runs).unwrap_err().to_string().contains("holds no soak"));
}
