//! The verdict on evidence that is made up record by record.

use std::path::Path;

use evidence::digest::sha256;
use evidence::files;
use evidence::guest::Accelerator;
use evidence::processor::Processor;
use evidence::{
    Controls, CutShort, Event, GuestEnded, GuestFault, Measurement, Order, PhaseState,
    SCHEMA_VERSION, TrialState,
};
use serde_json::{Value, json};

use super::*;
use crate::made::*;
use crate::table::table;

#[test]
fn a_healthy_emulated_run_passes_and_stays_in_the_vm() {
    let verdict = MadeRun::healthy().verdict();
    assert_eq!(states(&verdict), PASSED);
    assert_eq!((verdict.state, verdict.exit_code), (State::Pass, 0));
    assert_eq!(verdict.accelerator, Some(Processor::Tcg));
    assert_eq!(verdict.bare_metal.state, "NOT ELIGIBLE");
    insta::assert_snapshot!(table(&verdict));
}

#[test]
fn a_failed_trial_fails_its_criterion_alone() {
    let mut run = MadeRun::healthy();
    run.guest.extend(finished("module::loads", TrialState::Failed, "EINVAL"));
    // A retry that passes does not undo it.
    run.guest.extend(finished("module::loads", TrialState::Passed, ""));
    let verdict = run.verdict();
    assert_eq!(states(&verdict), PASSED.replace("module=PASS", "module=FAIL"));
    assert_eq!(verdict.exit_code, 1);
    assert_eq!(verdict.criteria[3].reasons[0].text, "module::loads (guest) failed: EINVAL");
}

#[rstest::rstest]
#[case::vanished(None, "was not run")]
#[case::skipped(
    Some(Event::Skipped { trial: "module::loads".into(), reason: "no module".into() }),
    "was skipped in its place: no module"
)]
#[case::unended(
    Some(Event::TrialStarted { trial: "module::loads".into() }),
    "began and never ended"
)]
fn what_is_not_shown_is_inconclusive(#[case] instead: Option<Event>, #[case] reason: &str) {
    let mut run = MadeRun::healthy();
    run.guest.retain(|event| {
        !matches!(event, Event::TrialStarted { trial } | Event::TrialFinished { trial, .. }
            if trial == "module::loads")
    });
    run.guest.extend(instead);
    let verdict = run.verdict();
    assert_eq!(states(&verdict), PASSED.replace("module=PASS", "module=INCONCLUSIVE"));
    assert_eq!(verdict.exit_code, 3);
    assert!(verdict.criteria[3].reasons[0].text.contains(reason));
}

/// A user was added on the host while a program ran in the guest, which uses the host's root file
/// system.
#[test]
fn what_the_host_did_to_the_guests_files_accuses_nobody() {
    const STALE: &str = "fio: error while loading shared libraries: libssl.so.3: Error 116";
    let failed = |message: &str, changes: &[&str]| {
        let mut run = MadeRun::healthy();
        for event in &mut run.host {
            if let Event::GuestEnded(end) = event {
                end.host_changes = changes.iter().map(|&name| name.to_owned()).collect();
            }
        }
        run.guest.extend(finished("module::loads", TrialState::Failed, message));
        run.verdict().criteria[3].reasons[0].clone()
    };
    let reason = failed(STALE, &["/etc/passwd"]);
    assert_eq!(reason.state, State::Inconclusive);
    assert!(reason.text.contains("changed meanwhile (/etc/passwd)"), "{}", reason.text);
    assert!(reason.text.ends_with(STALE), "{}", reason.text);
    // A failure counts in full without a change on the host, and for any other error despite one.
    assert_eq!(failed(STALE, &[]).state, State::Fail);
    assert_eq!(failed("rename: EIO", &["/etc/passwd"]).state, State::Fail);
}

/// The state of its trials when a daemon does not start.
#[test]
fn what_was_not_tried_counts_as_not_run_and_is_one_line() {
    const WHY: &str = "not tried: the FUSE daemon does not start; fuse::append says why";
    let mut run = MadeRun::healthy();
    let trials =
        ["append", "rename", "chmod", "truncate", "stats_count", "five_kinds_by_three_metrics"];
    let trials: Vec<String> = trials.iter().map(|name| format!("fuse::{name}")).collect();
    for event in &mut run.host {
        if let Event::Expected { at: Place::Host, trials: expected } = event {
            expected.extend(trials.clone());
        }
    }
    run.host.extend(finished(&trials[0], TrialState::Failed, "exited with status 1"));
    for trial in &trials[1..] {
        run.host.extend(finished(trial, TrialState::NotTried, WHY));
    }
    let verdict = run.verdict();
    assert_eq!(verdict.criteria[0].state, State::Fail);
    let told: String = table(&verdict)
        .lines()
        .skip_while(|line| !line.contains(": FAIL"))
        .take(18)
        .map(|line| format!("{line}\n"))
        .collect();
    insta::assert_snapshot!("a_daemon_that_does_not_start", told);
}

/// A kernel that warns between two trials, or after the last one.
#[test]
fn trouble_that_fell_into_no_trial_leaves_the_module_open() {
    const WARNING: &str = "WARNING: CPU: 0 PID: 9 at fs/inode.c:417 drop_nlink+0x2c/0x40";
    let warned = |logged: bool| {
        let mut run = MadeRun::healthy();
        for event in &mut run.host {
            if let Event::GuestEnded(end) = event {
                end.trouble = vec![WARNING.into()];
            }
        }
        if logged {
            run.guest.push(Event::KernelLog {
                trial: "module::loads".into(),
                lines: vec![format!("4 417 45.610873 {WARNING}")],
            });
        }
        run.verdict()
    };
    let verdict = warned(false);
    assert_eq!(states(&verdict), PASSED.replace("module=PASS", "module=INCONCLUSIVE"));
    assert_eq!(
        verdict.criteria[3].reasons[0].text,
        format!("the guest's kernel told of trouble that fell into no trial: {WARNING}")
    );
    // If the trial logged the warning, it has already judged it.
    assert_eq!(states(&warned(true)), PASSED);
}

#[test]
fn a_guest_that_panics_fails_the_trial_it_died_in() {
    let mut run = MadeRun::healthy();
    run.guest.push(Event::TrialStarted { trial: "module::cycles".into() });
    for event in &mut run.host {
        if let Event::Expected { at: Place::Guest, trials } = event {
            trials.push("module::cycles".into());
        }
    }
    run.host.push(Event::GuestEnded(GuestEnded {
        how: "the guest's kernel panicked: not syncing".into(),
        fault: GuestFault::Kernel,
        code: None,
        console_tail: vec!["Kernel panic - not syncing".into()],
        trouble: vec![],
        host_changes: vec![],
        boot_seconds: Some(15.0),
        first_output_seconds: Some(16.0),
        total_seconds: 30.0,
        accelerator: Accelerator::Tcg,
        evidence: None,
    }));
    let verdict = run.verdict();
    assert_eq!(states(&verdict), PASSED.replace("module=PASS", "module=FAIL"));
    assert_eq!(verdict.criteria[3].reasons[0].text, "the guest's kernel panicked: not syncing");
    let text = &verdict.criteria[3].reasons[1].text;
    assert_eq!(
        text,
        "module::cycles (guest) began, and then: the guest's kernel panicked: not syncing"
    );
}

/// All trials have passed, and then the guest hung until the limit or Ctrl-C. The worst end is not
/// the only one that counts.
#[test]
fn a_guest_that_ended_otherwise_leaves_the_module_open() {
    let mut run = MadeRun::healthy();
    for event in &mut run.host {
        if let Event::GuestEnded(end) = event {
            end.fault = GuestFault::Other;
            end.how = "the guest's command was not done after 600 s, its limit".into();
        }
    }
    let verdict = run.verdict();
    assert_eq!(states(&verdict), PASSED.replace("module=PASS", "module=INCONCLUSIVE"));
    assert_eq!(verdict.exit_code, 3);
    let text = &verdict.criteria[3].reasons[0].text;
    assert_eq!(text, "the guest's command was not done after 600 s, its limit");
}

#[test]
fn a_trial_that_the_manifest_does_not_know_is_inconclusive_and_its_failure_counts() {
    let judged = |place: Place, state| {
        let mut run = MadeRun::healthy();
        let new = finished("fuse::new", state, "EIO");
        if place == Place::Host {
            run.host.extend(new)
        } else {
            run.guest.extend(new)
        }
        states(&run.verdict())
    };
    for place in Place::ALL {
        let fuse = |state: &str| PASSED.replace("fuse=PASS b", &format!("fuse={state} b"));
        assert_eq!(judged(place, TrialState::Passed), fuse("INCONCLUSIVE"));
        assert_eq!(judged(place, TrialState::Undecided), fuse("INCONCLUSIVE"));
        assert_eq!(judged(place, TrialState::Failed), fuse("FAIL"));
    }
}

/// Adds a phase with one trial to a place's events, before the guest's end.
fn add_phase(events: &mut Vec<Event>, state: PhaseState, trial: &str, ended: TrialState) {
    let phase = || "1 host".to_owned();
    let at = events.iter().position(|event| matches!(event, Event::GuestEnded(_)));
    let mut added = vec![Event::PhaseStarted { phase: phase() }];
    added.extend(finished(trial, ended, "EIO"));
    let note = "tests failed".to_owned();
    added.push(Event::PhaseFinished { phase: phase(), state, seconds: 1.0, note });
    let at = at.unwrap_or(events.len());
    events.splice(at..at, added);
}

/// nextest reports a process that was left behind, or a test that died after its last record.
#[rstest::rstest]
fn a_phase_that_failed_though_its_trials_passed_leaves_all_open(
    #[values(Place::Host, Place::Guest)] place: Place,
) {
    let judged = |state, ended| {
        let mut run = MadeRun::healthy();
        let events = if place == Place::Host { &mut run.host } else { &mut run.guest };
        add_phase(events, state, "fuse::mounts", ended);
        // A failure in another phase explains nothing of this one.
        add_phase(&mut run.host, PhaseState::Failed, "dataset::digests", TrialState::Failed);
        run.verdict()
    };
    let passed = PASSED.replace("dataset=PASS", "dataset=FAIL");
    assert_eq!(states(&judged(PhaseState::Done, TrialState::Passed)), passed);
    assert_eq!(
        states(&judged(PhaseState::Failed, TrialState::Failed)),
        passed.replace("fuse=PASS b", "fuse=FAIL b")
    );
    let verdict = judged(PhaseState::Failed, TrialState::Passed);
    assert_eq!(states(&verdict), passed.replace("PASS", "INCONCLUSIVE"));
    let text = &verdict.criteria[0].reasons[0].text;
    let due = format!("phase '1 host' ({place}) failed, and no trial in it says why: tests failed");
    assert_eq!(*text, due);
}

#[test]
fn a_guest_whose_command_failed_though_its_trials_passed_leaves_all_open() {
    let judged = |code, ended| {
        let mut run = MadeRun::healthy();
        for event in &mut run.host {
            if let Event::GuestEnded(end) = event {
                end.code = code;
            }
        }
        run.guest.extend(finished("module::loads", ended, "EIO"));
        run.verdict()
    };
    let all_open = PASSED.replace("PASS", "INCONCLUSIVE");
    assert_eq!(states(&judged(Some(0), TrialState::Passed)), PASSED);
    assert_eq!(states(&judged(Some(100), TrialState::Passed)), all_open);
    assert_eq!(states(&judged(None, TrialState::Passed)), all_open);
    let failed = PASSED.replace("module=PASS", "module=FAIL");
    assert_eq!(states(&judged(Some(100), TrialState::Failed)), failed);
}

/// A process that another criterion's trial left behind does not keep the VM from being tried.
#[test]
fn a_phase_that_failed_alone_does_not_say_that_fuse_is_lost() {
    let mut run = MadeRun::healthy();
    add_phase(&mut run.host, PhaseState::Failed, "baseline::chromadb", TrialState::Passed);
    let dir = tempfile::tempdir().unwrap();
    run.write(dir.path());
    let evidence = Evidence::read(dir.path()).unwrap();
    assert_eq!(of(&evidence).state, State::Inconclusive);
    assert!(fuse_is_preserved(&evidence));
}

fn replace_measurement(run: &mut MadeRun, with: impl FnOnce(&mut Measurement)) {
    let mut found = run.guest.iter_mut().find_map(|event| match event {
        Event::Measurement(one) if one.rule == "kernel_over_fuse_hnsw" => Some(one),
        _ => None,
    });
    with(found.as_mut().unwrap());
}

fn for_controls(measurement: &mut Measurement, change: impl Fn(&mut Controls)) {
    for round in measurement.passes.iter_mut().flatten() {
        round.controls.iter_mut().for_each(&change);
    }
}

#[rstest::rstest]
#[case::slower(
    |one: &mut Measurement| {
        one.passes[0].iter_mut().for_each(|round| round.b_ns = vec![100_000; 25]);
        for_controls(one, |controls| controls.b_unseen_ns = vec![110_000; 4]);
    },
    "FAIL", "against 1"
)]
#[case::answers_from_memory(
    |one: &mut Measurement| for_controls(one, |controls| controls.a_unseen_ns = vec![9_000_000; 4]),
    "INCONCLUSIVE", "never asked before"
)]
#[case::nothing_unseen(
    |one: &mut Measurement| for_controls(one, |controls| controls.b_unseen_ns.clear()),
    "INCONCLUSIVE", "opens with none that is new"
)]
#[case::few_rounds(|one: &mut Measurement| one.passes[0].truncate(20), "INCONCLUSIVE", "the protocol asks")]
#[case::other_order(
    |one: &mut Measurement| one.passes[0][3].order = Order::BA, "INCONCLUSIVE", "its design asks for AB"
)]
#[case::lost_samples(
    |one: &mut Measurement| one.passes[0][7].b_ns.truncate(24), "INCONCLUSIVE", "24 of the other"
)]
#[case::other_threshold(
    |one: &mut Measurement| one.threshold = 0.5, "INCONCLUSIVE", "another rule"
)]
#[case::control_not_equal(
    |one: &mut Measurement| for_controls(one, |controls| controls.again_ns = vec![1_600_000; 25]),
    "INCONCLUSIVE", "A against a copy of A gave 1.600"
)]
#[case::control_not_found(
    |one: &mut Measurement| for_controls(one, |controls| controls.slowed_ns = vec![1_000_000; 25]),
    "INCONCLUSIVE", "slowed down by 5 % was not found"
)]
#[case::control_implausible(
    |one: &mut Measurement| for_controls(one, |controls| controls.slowed_ns = vec![1_200_000; 25]),
    "INCONCLUSIVE", "which is not 5 %"
)]
#[case::another_slow_down(
    |one: &mut Measurement| one.slowed_by = 0.5, "INCONCLUSIVE", "slowed down by 0.5, where 0.05"
)]
#[case::control_not_run(
    |one: &mut Measurement| for_controls(one, |controls| controls.again_ns = vec![1_000_000; 25]),
    "INCONCLUSIVE", "the control was not run"
)]
#[case::no_recall(
    |one: &mut Measurement| (one.a.recall, one.b.recall) = (None, None), "INCONCLUSIVE",
    "recall of a side is not told"
)]
#[case::other_queries(
    |one: &mut Measurement| one.operations_per_round = 10, "INCONCLUSIVE", "10 operations a round"
)]
#[case::put_aside(
    |one: &mut Measurement| one.disturbed = vec![one.passes[0][9].clone()], "INCONCLUSIVE",
    "rounds were put aside"
)]
#[case::no_controls(
    |one: &mut Measurement| one.passes[0][9].controls = None, "INCONCLUSIVE", "has no controls"
)]
#[case::between_looks(
    |one: &mut Measurement| one.passes.push(one.passes[0].clone()), "INCONCLUSIVE", "preset looks"
)]
#[case::went_on(
    |one: &mut Measurement| one.passes = vec![one.passes[0].clone(); 3], "INCONCLUSIVE",
    "though 20 had decided"
)]
#[case::short_of_time(
    |one: &mut Measurement| {
        one.cut_short = Some(CutShort { rounds: 60, seconds: 310.4, left: 120.0 });
        for (index, round) in one.passes[0].iter_mut().enumerate() {
            round.b_ns = vec![[700_000, 1_300_000][index % 2]; round.a_ns.len()];
        }
    },
    "INCONCLUSIVE", "after 60 rounds was not begun: it takes 310 s more, and 120 s are left"
)]
#[case::worse_recall(|one: &mut Measurement| one.a.recall = Some(0.9), "FAIL", "recall 0.9000 is below")]
fn a_ratio_must_be_sound(
    #[case] spoil: fn(&mut Measurement),
    #[case] state: &str,
    #[case] reason: &str,
) {
    let mut run = MadeRun::healthy();
    replace_measurement(&mut run, spoil);
    let verdict = run.verdict();
    let expected = PASSED.replace("kernel_vs_fuse=PASS", &format!("kernel_vs_fuse={state}"));
    assert_eq!(states(&verdict), expected);
    let text = &verdict.criteria[4].reasons[0].text;
    assert!(text.contains(reason), "{text}");
}

#[rstest::rstest]
#[case::untested(None)]
#[case::wrong(Some(Event::SelfTest { passed: false, detail: "3 of 200 wrong".into() }))]
fn numbers_of_an_emulator_that_is_not_proven_do_not_count(#[case] test: Option<Event>) {
    let mut run = MadeRun::healthy();
    run.guest.retain(|event| !matches!(event, Event::SelfTest { .. }));
    run.guest.extend(test);
    let verdict = run.verdict();
    let expected = "fuse=PASS baseline=INCONCLUSIVE dataset=PASS module=PASS \
                    kernel_vs_fuse=INCONCLUSIVE";
    assert_eq!(states(&verdict), expected);
}

#[test]
fn a_launcher_that_disagrees_with_the_guest_is_damage() {
    let mut run = MadeRun::healthy();
    for event in &mut run.host {
        if let Event::GuestEnded(end) = event {
            end.accelerator = Accelerator::Kvm;
        }
    }
    let verdict = run.verdict();
    assert_eq!(verdict.state, State::Inconclusive);
    assert!(verdict.damage[0].contains("accelerator"));
}

/// All trials have passed, but the launcher was killed or its last records are gone.
#[test]
fn a_guest_without_the_launchers_word_is_damage() {
    let mut run = MadeRun::healthy();
    run.host.retain(|event| !matches!(event, Event::GuestEnded(_)));
    let verdict = run.verdict();
    assert_eq!((verdict.state, verdict.exit_code), (State::Inconclusive, 3));
    assert!(verdict.damage[0].contains("no word of the launcher"), "{:?}", verdict.damage);
}

/// A command in the guest ran them: they are counted, and no damage is reported.
#[test]
fn trials_of_the_guest_alone_are_no_validation() {
    let mut run = MadeRun::healthy();
    run.host.retain(|event| !matches!(event, Event::Expected { at: Place::Host, .. }));
    run.guest.retain(|event| !matches!(event, Event::Environment(_)));
    let verdict = run.verdict();
    assert_eq!((verdict.state, verdict.damage), (State::Inconclusive, vec![]));
    let module = &verdict.criteria[3];
    assert_eq!((module.passed, module.expected), (1, 1));
    let reasons: Vec<&str> = module.reasons.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(reasons, ["the evidence names no trial that the host must run"]);
}

#[test]
fn a_guest_that_does_not_say_what_it_ran_on_is_damage() {
    let mut run = MadeRun::healthy();
    run.guest.retain(|event| !matches!(event, Event::Environment(_)));
    let verdict = run.verdict();
    assert!(verdict.damage[0].contains("the guest saw accelerator none"), "{:?}", verdict.damage);
}

#[test]
fn where_nothing_is_expected_no_trial_is_unknown() {
    let mut run = MadeRun::healthy();
    run.host.retain(|event| !matches!(event, Event::Expected { .. }));
    let verdict = run.verdict();
    assert_eq!(verdict.state, State::Inconclusive);
    let reasons = verdict.criteria.iter().flat_map(|one| &one.reasons);
    let texts: Vec<&str> = reasons.map(|one| one.text.as_str()).collect();
    assert!(texts.contains(&"the evidence names no trial that the guest must run"), "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains("expected-tests manifest")), "{texts:?}");
}

#[test]
fn no_guest_is_inconclusive() {
    let mut run = MadeRun::healthy();
    run.guest.clear();
    let verdict = run.verdict();
    assert_eq!(verdict.exit_code, 3);
    assert_eq!(verdict.criteria[3].state, State::Inconclusive);
}

#[test]
fn a_directory_without_evidence_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Evidence::read(dir.path()).is_err());
}

/// Rewrites the records of `dir`, and applies `change` to each to give it the format of an older
/// version.
fn rewrite(dir: &Path, change: fn(&mut Value)) {
    let mut end_of_guest = Value::Null;
    for place in [Place::Guest, Place::Host] {
        let file = dir.join(files::trail(place));
        let (mut text, mut prev, mut lines) = (String::new(), sha256(b""), 0);
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["prev"] = json!(prev);
            if record["event"] == "guest_ended" {
                record["evidence"] = end_of_guest.clone();
            }
            change(&mut record);
            let line = record.to_string();
            (prev, lines) = (sha256(line.as_bytes()), lines + 1);
            text += &(line + "\n");
        }
        end_of_guest = json!({ "lines": lines, "sha256": prev });
        std::fs::write(file, text).unwrap();
    }
}

fn launched_run() -> tempfile::TempDir {
    let mut run = MadeRun::healthy();
    let launch = launch(Accelerator::Tcg, "made up");
    let at = run.host.len() - 1;
    run.host.insert(at, Event::GuestLaunched(Box::new(launch)));
    let dir = tempfile::tempdir().unwrap();
    run.write(dir.path());
    dir
}

#[test]
fn an_older_directory_is_judged_and_the_verdict_names_its_version() {
    let dir = launched_run();
    let today = of(&Evidence::read(dir.path()).unwrap());
    assert_eq!((states(&today).as_str(), &today.older), (PASSED, &None));
    rewrite(dir.path(), |record| {
        record["v"] = json!(1);
        if record["event"] == "guest_launched" {
            record.as_object_mut().unwrap().remove("clock");
            record["instruction_clock"] = json!(false);
        }
    });
    let older = of(&Evidence::read(dir.path()).unwrap());
    let commit = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
    assert_eq!(older.older, Some(OlderRecords { version: 1, commit }));
    let words =
        "the records are of version 1, written by the vexfs-validate of commit 0123456789ab";
    assert!(table(&older).contains(words), "{}", table(&older));
    assert_eq!(Verdict { older: None, ..older }, today);
}

#[test]
fn records_of_a_version_that_is_not_known_are_damage() {
    let dir = launched_run();
    rewrite(dir.path(), |record| record["v"] = json!(SCHEMA_VERSION + 1));
    let verdict = of(&Evidence::read(dir.path()).unwrap());
    assert_eq!(verdict.state, State::Inconclusive);
    assert!(verdict.damage[0].contains("judge it with the vexfs-validate that wrote it"));
}
