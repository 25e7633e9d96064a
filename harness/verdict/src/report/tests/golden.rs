//! Golden runs: each is a directory in `harness/verdict/tests/runs`, as a run leaves it on a
//! person's machine. The code below makes them, so a change of the format reaches all of them; they
//! are kept in the repository, so that such a change is seen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use evidence::clock::Clock;
use evidence::facts::{LOAD_CYCLE, LOAD_CYCLES, LoadCycle};
use evidence::files;
use evidence::guest::{Accelerator, GuestLaunch, TAIL_LINES};
use evidence::noise::Noise;
use evidence::place::{Mark, Place};
use evidence::processor::Processor;
use evidence::{
    EndOfTrail, Environment, Event, GuestEnded, GuestFault, Measurement, PhaseState, Record, Round,
    SCHEMA_VERSION, TrialState,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::judge;
use crate::made::{MadeRun, finished, launch, load_cycles};
use crate::trails::Evidence;

/// When set, the tests write the golden runs anew.
const UPDATE_VARIABLE: &str = "VEXFS_VALIDATION_UPDATE_GOLDEN";
/// 2026-11-22 14:45:01 UTC.
const BEGINNING_MS: u64 = 1_795_358_701_000;

const PANIC: [&str; 3] = [
    "[   63.102] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[   63.104] RIP: 0010:vexfs_search+0x1c/0x90 [vexfs]",
    "[   63.118] Kernel panic - not syncing: Fatal exception",
];

/// All golden runs.
pub(crate) const CASES: [&str; 13] = [
    "as-on-kvm",
    "emulated",
    "failed",
    "inconclusive",
    "skipped-in-the-guest",
    "vanished",
    "wrong-place",
    "tampered",
    "cut",
    "panicked",
    "panicked-in-cycle-150",
    "hung",
    "interrupted",
];

/// A run that passes in an emulated guest, on a machine that is the same everywhere.
fn emulated() -> MadeRun {
    everywhere_the_same(MadeRun::healthy())
}

/// What a run that passes on KVM looks like; it was not made on KVM.
fn as_on_kvm() -> MadeRun {
    let mut run = everywhere_the_same(MadeRun::healthy_on(Accelerator::Kvm));
    for event in &mut run.guest {
        if let Event::Measurement(one) = event
            && one.rule == "kernel_over_fuse_hnsw"
        {
            disturb(one);
        }
    }
    run
}

/// A round that was repeated, a round that counts although it was disturbed, and a round for which
/// the kernel did not report the noise.
fn disturb(one: &mut Measurement) {
    let waiting = |waiting_us| Some(Noise { wall_us: 200_000, waiting_us, stolen_us: Some(0) });
    let rounds = &mut one.passes[0];
    one.disturbed = vec![Round { noise: waiting(Some(90_000)), ..rounds[8].clone() }];
    rounds[9].noise = waiting(Some(60_000));
    rounds[10].noise = waiting(None);
}

fn everywhere_the_same(mut run: MadeRun) -> MadeRun {
    for event in run.host.iter_mut().chain(&mut run.guest) {
        match event {
            Event::Environment(one) => **one = environment(one.accelerator),
            Event::Measurement(one) => dress(one),
            Event::Fact { name, .. } if name == "cycles" => *event = cycles(40),
            _ => {}
        }
    }
    run.host.insert(3, Event::PhaseStarted { phase: "1 host".into() });
    run.host.push(Event::Skipped {
        trial: "module::loads".into(),
        reason: "belongs in the guest: modules are never loaded on the host".into(),
    });
    run.host.push(Event::PhaseFinished {
        phase: "1 host".into(),
        state: PhaseState::Done,
        seconds: 12.5,
        note: String::new(),
    });
    run.guest.push(Event::KernelLog {
        trial: "module::loads".into(),
        lines: vec!["6 812 14.2 vexfs: loading out-of-tree module taints kernel.".into()],
    });
    run
}

fn environment(accelerator: Processor) -> Environment {
    let kernel =
        if accelerator == Processor::Native { "6.1.0-host" } else { "6.12.117+deb12-amd64" };
    Environment {
        place_reason: "a golden run".into(),
        place_marks: vec![Mark { source: "DMI system".into(), found: "none".into() }],
        kernel_release: kernel.into(),
        cpu: "A processor".into(),
        cpus: 2,
        memory_kib: 8 << 20,
        accelerator,
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        programs: BTreeMap::from([("vexfs_fuse".into(), "00".repeat(32))]),
        versions: BTreeMap::from([("harness".into(), "0.1.0".into())]),
        clock: (accelerator != Processor::Native).then_some(Clock::Wall),
        detectors: vec![],
        variables: BTreeMap::from([("VEXFS_VALIDATION_LOOKS".into(), "1".into())]),
    }
}

/// Gives contenders names that a reader would see, and queries times that differ slightly.
fn dress(one: &mut Measurement) {
    let (a, b) = one.rule.split_once("_over_").unwrap_or(("a", "b"));
    let b = b.split('_').next().unwrap_or(b);
    (one.a.contender, one.b.contender) = (a.to_owned(), b.to_owned());
    for round in one.passes.iter_mut().flatten() {
        round.b_ns.iter_mut().skip(1).for_each(|time| *time += 1);
    }
}

/// Keeps one measurement; the rest of a directory does not depend on the others.
fn with_one_measurement(mut run: MadeRun) -> MadeRun {
    let kept = |event: &Event| match event {
        Event::Measurement(one) => one.rule == "kernel_over_fuse_insertion",
        Event::Fact { trial, .. } => trial != "baseline::recorded",
        _ => true,
    };
    run.host.retain(kept);
    run.guest.retain(kept);
    run
}

fn failed() -> MadeRun {
    let mut run = with_one_measurement(emulated());
    let why = "expected <8 rows>, got | 7\nrow #3 is missing";
    run.guest.extend(finished("module::loads", TrialState::Failed, why));
    for event in &mut run.guest {
        if let Event::Measurement(one) = event {
            for round in one.passes.iter_mut().flatten() {
                round.b_ns = vec![500_000];
            }
        }
    }
    run
}

/// Kernel and FUSE are as fast as each other, and 20 rounds do not say who is faster.
fn inconclusive() -> MadeRun {
    let mut run = with_one_measurement(emulated());
    for event in &mut run.guest {
        if let Event::Measurement(one) = event {
            for (index, round) in one.passes.iter_mut().flatten().enumerate() {
                let b_ns = [970_000, 990_000, 1_010_000, 1_030_000][index % 4];
                round.b_ns = vec![b_ns];
            }
        }
    }
    run
}

fn skipped_in_the_guest() -> MadeRun {
    let mut run = vanished();
    let reason = "vexfs.ko is not there".into();
    run.guest.push(Event::Skipped { trial: "module::loads".into(), reason });
    run
}

/// The manifest names a trial that no test target contains any more.
fn vanished() -> MadeRun {
    let mut run = with_one_measurement(emulated());
    run.guest.retain(|event| {
        !matches!(event, Event::TrialStarted { trial } | Event::TrialFinished { trial, .. }
            if trial == "module::loads")
    });
    run
}

/// The guest goes down in module::loads.
fn died(how: &str, console_tail: Vec<String>) -> MadeRun {
    let mut run = with_one_measurement(emulated());
    let at = run.guest.iter().position(
        |event| matches!(event, Event::TrialFinished { trial, .. } if trial == "module::loads"),
    );
    run.guest.truncate(at.unwrap());
    run.host.retain(|event| !matches!(event, Event::GuestEnded(_)));
    run.host.push(Event::GuestEnded(GuestEnded {
        how: how.into(),
        fault: GuestFault::Kernel,
        code: None,
        console_tail,
        trouble: vec![],
        host_changes: vec![],
        boot_seconds: Some(15.0),
        first_output_seconds: Some(16.0),
        total_seconds: 63.5,
        accelerator: Accelerator::Tcg,
        evidence: None,
    }));
    run
}

fn panicked(console_tail: Vec<String>) -> MadeRun {
    died("the guest's kernel panicked: Fatal exception", console_tail)
}

/// The trial had recorded cycles 0 to 149. The launcher keeps the console's last lines.
fn panicked_in_cycle_150(console: &[String]) -> MadeRun {
    let mut run = panicked(console[console.len() - TAIL_LINES..].to_vec());
    run.guest.extend((0..150).map(load_cycle));
    if let Some(Event::GuestEnded(end)) = run.host.last_mut() {
        end.total_seconds = 72.0;
    }
    run
}

fn load_cycle(number: u32) -> Event {
    let cycle = LoadCycle {
        number,
        microseconds: 55_000 + 100 * u64::from(number % 7),
        kernel_memory_kib: 61_000 + 8 * i64::from(number % 5),
        live_allocations: 0,
    };
    Event::Fact { trial: "module::loads".into(), name: LOAD_CYCLE.into(), value: json!(cycle) }
}

/// A host poses as the guest: nothing that it measures is emulated.
fn wrong_place() -> MadeRun {
    let mut run = with_one_measurement(emulated());
    for event in &mut run.guest {
        if let Event::Environment(one) = event {
            **one = environment(Processor::Native);
        }
    }
    run
}

fn cycles(count: u64) -> Event {
    Event::Fact {
        trial: "module::loads".into(),
        name: LOAD_CYCLES.into(),
        value: json!(load_cycles(
            (0..count).map(|n| 55_000 + 100 * (n % 7)).collect(),
            (0..count as i64).map(|n| 61_000 + 8 * (n % 5)).collect(),
        )),
    }
}

/// The console from the beginning of module::loads on.
fn console(case: &str) -> Vec<String> {
    let mut lines = vec!["[   62.900] vexfs-validation: module::loads".to_owned()];
    match case {
        "panicked" => lines.extend(PANIC.map(str::to_owned)),
        "panicked-in-cycle-150" => {
            lines.extend((0..=150).map(|number| {
                let time = 62.95 + 0.057 * f64::from(number);
                format!("[   {time:.3}] vexfs-validation: module::loads: cycle {number}")
            }));
            lines.extend(PANIC.map(|line| line.replace("63.1", "71.6")));
        }
        "hung" => lines.push(
            "[  183.001] INFO: task insmod:214 blocked for more than 120 seconds.".to_owned(),
        ),
        _ => {}
    }
    lines
}

/// The run was killed in its first phase.
fn interrupted() -> MadeRun {
    let mut run = with_one_measurement(emulated());
    let at = run.host.iter().position(|event| matches!(event, Event::TrialFinished { .. }));
    run.host.truncate(at.unwrap());
    run.guest.clear();
    run
}

/// The run fails, until somebody changes a word in its evidence.
fn tampered() -> MadeRun {
    let mut run = failed();
    run.guest.push(Event::PhaseFinished {
        phase: "3 VM validation".into(),
        state: PhaseState::Failed,
        seconds: 43.5,
        note: "tests failed".into(),
    });
    run
}

/// What happened to a place's file after it was written.
fn spoil(case: &str, place: Place, text: &mut String) {
    match (case, place) {
        ("cut", Place::Guest) => text.truncate(text.len() - 40),
        ("tampered", Place::Guest) => {
            *text = text.replacen("\"state\":\"failed\"", "\"state\":\"passed\"", 1);
        }
        _ => {}
    }
}

fn launch_of(case: &str) -> GuestLaunch {
    match case {
        "as-on-kvm" => launch(Accelerator::Kvm, "a kernel boots on it"),
        _ => launch(Accelerator::Tcg, "/dev/kvm cannot be opened"),
    }
}

/// Writes the directory of a run, with time stamps that are always the same.
fn write_run(case: &str, mut run: MadeRun, dir: &Path) {
    let mut end_of_guest = None;
    let ended = run.host.iter().position(|event| matches!(event, Event::GuestEnded(_)));
    if let Some(at) = ended {
        run.host.insert(at, Event::GuestLaunched(Box::new(launch_of(case))));
    }
    for (place, mut events) in [(Place::Guest, run.guest), (Place::Host, run.host)] {
        for event in &mut events {
            if let Event::GuestEnded(end) = event {
                end.evidence.clone_from(&end_of_guest);
            }
        }
        let mut text = String::new();
        let mut prev = evidence::digest::hex(&Sha256::digest(b""));
        // A host that poses as the guest writes the guest's file, but its records still say `host`.
        let writer = if case == "wrong-place" { Place::Host } else { place };
        for (seq, event) in (0..).zip(events) {
            let time_ms = BEGINNING_MS + 750 * seq + if place == Place::Host { 0 } else { 20_000 };
            let record =
                Record { v: SCHEMA_VERSION, seq, prev, time_ms, place: writer, pid: 1, event };
            let line = serde_json::to_string(&record).unwrap();
            prev = evidence::digest::hex(&Sha256::digest(&line));
            text += &(line + "\n");
            if place == Place::Guest {
                let lines = text.lines().count();
                end_of_guest = Some(EndOfTrail { lines, sha256: prev.clone() });
            }
        }
        spoil(case, place, &mut text);
        if !text.is_empty() {
            fs::write(dir.join(files::trail(place)), text).unwrap();
        }
    }
    if case == "interrupted" {
        return;
    }
    let launch = launch_of(case);
    let json = |value: &serde_json::Value| serde_json::to_string_pretty(value).unwrap() + "\n";
    fs::write(dir.join("guest-launch.json"), json(&json!(launch))).unwrap();
    let mut lines: Vec<String> =
        ["\u{1b}[2J\u{8}SeaBIOS", "[    0.000] Linux version 6.12.117+deb12-amd64"]
            .map(str::to_owned)
            .to_vec();
    lines.extend(console(case));
    fs::write(dir.join("console.log"), lines.join("\n") + "\n").unwrap();
    let verdict = judge::of(&Evidence::read(dir).unwrap());
    fs::write(dir.join("verdict.json"), serde_json::to_string_pretty(&verdict).unwrap() + "\n")
        .unwrap();
}

pub(crate) fn files(dir: &Path) -> BTreeMap<String, String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The directory of a golden run, which must hold what the code above makes.
pub(crate) fn golden(case: &str) -> PathBuf {
    let run = match case {
        "as-on-kvm" => as_on_kvm(),
        "emulated" => emulated(),
        "failed" => failed(),
        "tampered" => tampered(),
        "inconclusive" => inconclusive(),
        "skipped-in-the-guest" => skipped_in_the_guest(),
        "vanished" => vanished(),
        "cut" => with_one_measurement(emulated()),
        "wrong-place" => wrong_place(),
        "panicked" => panicked(console(case)),
        "panicked-in-cycle-150" => panicked_in_cycle_150(&console(case)),
        "hung" => died("the guest's command printed nothing for 600 s, its limit", console(case)),
        "interrupted" => interrupted(),
        other => panic!("no golden run is called {other}"),
    };
    let made = tempfile::tempdir().unwrap();
    write_run(case, run, made.path());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs").join(case);
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in files(made.path()) {
            fs::write(dir.join(name), text).unwrap();
        }
    }
    let stale: Vec<String> = files(made.path())
        .into_iter()
        .filter(|(name, text)| files(&dir).get(name) != Some(text))
        .map(|(name, _)| name)
        .collect();
    assert!(stale.is_empty(), "{}: {stale:?} differ; set {UPDATE_VARIABLE}=1", dir.display());
    dir
}
