//! Reports of golden runs.
//!
//! A golden run is a directory under `harness/tests/data/runs`, as a person's machine would hold
//! it. It is made by the code below, so that a change of the format is made to all of them, and
//! kept, so that such a change is seen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;
use crate::evidence::{
    Environment, Event, GuestEnd, GuestFault, Measurement, PhaseState, Record, SCHEMA_VERSION,
    TrialState, file_name,
};
use crate::place::{Mark, Place};
use crate::verdict::tests::{Run as Made, finished};
use crate::verdict::{self, Evidence};
use crate::vm::{Accelerator, GuestLaunch, Qemu};

/// Set, it writes the golden runs anew.
const UPDATE_VARIABLE: &str = "VEXFS_VALIDATION_UPDATE_GOLDEN";
/// 2026-11-22 14:45:01 UTC.
const BEGINNING_MS: u64 = 1_795_358_701_000;

const PANIC: [&str; 3] = [
    "[   63.102] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[   63.104] RIP: 0010:vexfs_search+0x1c/0x90 [vexfs]",
    "[   63.118] Kernel panic - not syncing: Fatal exception",
];

/// A run that passes in an emulated guest, on a machine that is the same everywhere.
fn emulated() -> Made {
    let mut run = Made::healthy();
    for event in run.host.iter_mut().chain(&mut run.guest) {
        match event {
            Event::Environment(one) => **one = environment(&one.accelerator),
            Event::Measurement(one) => shorten(one),
            Event::Fact { name, value, .. } if name == "cycles" => {
                let cycles = || 0..40;
                *value = json!({
                    "microseconds": cycles().map(|n| 55_000 + 100 * (n % 7)).collect::<Vec<_>>(),
                    "kernel_memory_kib": cycles().map(|n| 61_000 + 8 * (n % 5)).collect::<Vec<_>>(),
                    "live_allocations": cycles().map(|_| 0).collect::<Vec<_>>(),
                });
            }
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

fn environment(accelerator: &str) -> Environment {
    let kernel = if accelerator == "native" { "6.1.0-host" } else { "6.12.117+deb12-amd64" };
    Environment {
        place_reason: "a golden run".into(),
        place_marks: vec![Mark { source: "DMI system".into(), found: "none".into() }],
        kernel_release: kernel.into(),
        cpu: "A processor".into(),
        cpus: 2,
        memory_kib: 8 << 20,
        accelerator: accelerator.into(),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        programs: BTreeMap::from([("vexfs_fuse".into(), "00".repeat(32))]),
        versions: BTreeMap::from([("harness".into(), "0.1.0".into())]),
    }
}

/// Two operations a round are enough to look at.
fn shorten(one: &mut Measurement) {
    let (a, b) = one.rule.split_once("_over_").unwrap_or(("a", "b"));
    let b = b.split('_').next().unwrap_or(b);
    (one.a.contender, one.b.contender) = (a.to_owned(), b.to_owned());
    if one.rule.contains("insertion") {
        (one.a.recall, one.b.recall) = (None, None);
    }
    for round in one.passes.iter_mut().flatten() {
        round.a_ns.truncate(2);
        round.b_ns.truncate(2);
        round.b_ns[1] += 1;
        if let Some(controls) = &mut round.controls {
            controls.again_ns.truncate(2);
            controls.slowed_ns.truncate(2);
        }
    }
}

/// Keeps one measurement: what the rest of a directory looks like does not depend on them.
fn with_one_measurement(mut run: Made) -> Made {
    let kept = |event: &Event| match event {
        Event::Measurement(one) => one.rule == "kernel_over_fuse_insertion",
        _ => true,
    };
    run.host.retain(kept);
    run.guest.retain(kept);
    run
}

fn failed() -> Made {
    let mut run = with_one_measurement(emulated());
    let why = "expected <8 rows>, got | 7\nrow #3 is missing";
    run.guest.extend(finished("module::loads", TrialState::Failed, why));
    for event in &mut run.guest {
        if let Event::Measurement(one) = event {
            for round in one.passes.iter_mut().flatten() {
                round.b_ns = vec![500_000, 500_001];
                if let Some(controls) = &mut round.controls {
                    controls.b_unseen_ns = vec![550_000; 4];
                }
            }
        }
    }
    run
}

fn skipped_in_the_guest() -> Made {
    let mut run = with_one_measurement(emulated());
    run.guest.retain(|event| {
        !matches!(event, Event::TrialStarted { trial } | Event::TrialFinished { trial, .. }
            if trial == "module::loads")
    });
    let reason = "vexfs.ko is not there".into();
    run.guest.push(Event::Skipped { trial: "module::loads".into(), reason });
    run
}

fn panicked() -> Made {
    let mut run = with_one_measurement(emulated());
    let at = run.guest.iter().position(
        |event| matches!(event, Event::TrialFinished { trial, .. } if trial == "module::loads"),
    );
    run.guest.truncate(at.unwrap());
    run.host.retain(|event| !matches!(event, Event::GuestEnded(_)));
    run.host.push(Event::GuestEnded(GuestEnd {
        how: "the guest's kernel panicked: Fatal exception".into(),
        fault: GuestFault::Kernel,
        code: None,
        console_tail: PANIC.map(str::to_owned).to_vec(),
        boot_seconds: Some(15.0),
        first_output_seconds: Some(16.0),
        total_seconds: 63.5,
        accelerator: "tcg".into(),
    }));
    run
}

/// Killed in its first phase.
fn interrupted() -> Made {
    let mut run = with_one_measurement(emulated());
    let at = run.host.iter().position(|event| matches!(event, Event::TrialFinished { .. }));
    run.host.truncate(at.unwrap());
    run.guest.clear();
    run
}

/// Writes the directory of a run, with a clock of its own.
fn write_run(case: &str, run: Made, dir: &Path) {
    for (place, events) in [(Place::Host, run.host), (Place::Guest, run.guest)] {
        let mut text = String::new();
        let mut prev = crate::sha256_hex(&Sha256::digest(b""));
        for (seq, event) in (0..).zip(events) {
            let time_ms = BEGINNING_MS + 750 * seq + if place == Place::Host { 0 } else { 20_000 };
            let record = Record { v: SCHEMA_VERSION, seq, prev, time_ms, place, pid: 1, event };
            let line = serde_json::to_string(&record).unwrap();
            prev = crate::sha256_hex(&Sha256::digest(&line));
            text += &(line + "\n");
        }
        if case == "cut" && place == Place::Guest {
            text.truncate(text.len() - 40);
        }
        if !text.is_empty() {
            fs::write(dir.join(file_name(place)), text).unwrap();
        }
    }
    if case == "interrupted" {
        return;
    }
    let launch = GuestLaunch {
        accelerator: Accelerator::Tcg,
        accelerator_reason: "/dev/kvm cannot be opened".into(),
        instruction_clock: false,
        qemu: Qemu { path: "/usr/bin/qemu-system-x86_64".into(), version: "10.0.2".into() },
        kernel_release: "6.12.117+deb12-amd64".into(),
        memory_mib: 8192,
        cpus: 2,
        command_line: vec!["virtme-run".into()],
    };
    let json = |value: &serde_json::Value| serde_json::to_string_pretty(value).unwrap() + "\n";
    fs::write(dir.join("guest-launch.json"), json(&json!(launch))).unwrap();
    let mut console =
        vec!["\u{1b}[2J\u{8}SeaBIOS", "[    0.000] Linux version 6.12.117+deb12-amd64"];
    if case == "panicked" {
        console.extend(PANIC);
    }
    fs::write(dir.join("console.log"), console.join("\n") + "\n").unwrap();
    let verdict = verdict::of(&Evidence::read(dir).unwrap());
    fs::write(dir.join("verdict.json"), json(&json!(verdict))).unwrap();
}

fn files(dir: &Path) -> BTreeMap<String, String> {
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

/// The directory of a golden run; it holds what the code above makes.
fn golden(case: &str) -> PathBuf {
    let run = match case {
        "emulated" => emulated(),
        "failed" => failed(),
        "skipped-in-the-guest" => skipped_in_the_guest(),
        "panicked" => panicked(),
        "interrupted" => interrupted(),
        "cut" => with_one_measurement(emulated()),
        other => panic!("no golden run is called {other}"),
    };
    let made = tempfile::tempdir().unwrap();
    write_run(case, run, made.path());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/runs").join(case);
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

#[rstest::rstest]
#[case::emulated("emulated")]
#[case::failed("failed")]
#[case::skipped_in_the_guest("skipped-in-the-guest")]
#[case::panicked("panicked")]
#[case::interrupted("interrupted")]
#[case::cut("cut")]
fn every_run_has_its_report(#[case] case: &str) {
    let run = Run::read(&golden(case), &[]).unwrap();
    insta::assert_snapshot!(format!("{case}.md"), markdown(&run));
    insta::assert_snapshot!(format!("{case}.ktap"), ktap(&run));
    well_formed(&html(&run));
}

/// What a browser would forgive: a tag that is not closed, an anchor that leads nowhere.
fn well_formed(page: &str) {
    let ids = values(page, " id=\"");
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "an id stands twice");
    for anchor in values(page, "href=\"#") {
        assert!(ids.contains(&anchor), "#{anchor} leads nowhere");
    }
    for label in values(page, "aria-labelledby=\"") {
        assert!(label.split(' ').all(|id| ids.contains(&id)), "{label} labels nothing");
    }
    for tag in
        ["section", "table", "svg", "g", "p", "ul", "li", "details", "pre", "td", "tr", "div"]
    {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "<{tag}>");
    }
    let svgs = page.split("<svg ").skip(1);
    for svg in svgs {
        let svg = svg.split("</svg>").next().unwrap();
        assert!(svg.contains("role=\"img\"") && svg.contains("<title") && svg.contains("<desc"));
        assert!(!svg.contains("NaN") && !svg.contains("\"inf"), "{svg}");
    }
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("url("));
    assert!(page.chars().all(|c| !c.is_control() || c == '\n'), "control characters");
    assert!(!page.contains("<8 rows>"), "text is taken for a tag");
}

fn values<'t>(page: &'t str, before: &str) -> Vec<&'t str> {
    page.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn a_whole_run_misses_nothing_and_draws_every_kind() {
    let run = Run::read(&golden("emulated"), &[]).unwrap();
    assert_eq!(run.missing, Vec::<String>::new());
    let page = html(&run);
    for id in ["ratios", "latencies", "recall", "cycles", "timeline"] {
        let section = page.split(&format!("<section id=\"{id}\"")).nth(1).unwrap();
        let section = section.split("</section>").next().unwrap();
        assert!(section.contains("<svg ") && section.contains("<table>"), "{id}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let missing = |case: &str| Run::read(&golden(case), &[]).unwrap().missing.join("\n");
    assert!(missing("cut").contains("guest evidence, line"));
    assert!(missing("panicked").contains("module::loads (guest) began and never ended"));
    let interrupted = missing("interrupted");
    for words in
        ["phase 1 host began and never ended", "guest.jsonl", "console.log", "verdict.json"]
    {
        assert!(interrupted.contains(words), "{words} is not in {interrupted}");
    }
}

#[test]
fn a_launcher_that_was_killed_leaves_a_report() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files(&golden("panicked")) {
        if !name.ends_with(".jsonl") {
            fs::write(dir.path().join(name), text).unwrap();
        }
    }
    let run = Run::read(dir.path(), &[]).unwrap();
    assert!(run.missing.iter().any(|one| one.starts_with("host.jsonl")), "{:?}", run.missing);
    assert!(markdown(&run).contains("vexfs_search+0x1c"));
}

#[test]
fn the_three_files_are_written_elsewhere_too() {
    let into = tempfile::tempdir().unwrap();
    let page = write(&golden("cut"), into.path(), &[]).unwrap();
    assert_eq!(page, into.path().join(PAGE));
    assert_eq!(files(into.path()).len(), 3);
    assert!(write(into.path(), into.path(), &[]).is_err(), "there is no evidence in it");
}
