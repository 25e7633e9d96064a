//! JUnit files of golden runs.

use std::fs;

use evidence::{TrialState, Writer};

use super::schema::{Element, check};
use super::*;
use crate::made::finished;
use crate::report::tests::golden::{CASES, golden};

fn text(case: &str) -> String {
    let dir = golden(case);
    of(&Run::read(&dir, &[]).unwrap(), &dir).unwrap()
}

#[test]
fn every_run_has_valid_junit() {
    for case in CASES {
        let text = text(case);
        check(&text).unwrap_or_else(|why| panic!("{case}: {why}\n{text}"));
    }
}

#[rstest::rstest]
#[case::failed("failed")]
#[case::panicked("panicked")]
#[case::inconclusive("inconclusive")]
#[case::skipped("skipped-in-the-guest")]
fn junit_says_why(#[case] case: &str) {
    insta::assert_snapshot!(case, text(case));
}

/// Finds the test `name` of `class`.
fn find<'e>(root: &'e Element, class: &str, name: &str) -> &'e Element {
    let is_it = |one: &&Element| {
        let attribute = |key: &str| one.attributes.get(key).map(String::as_str);
        (attribute("classname"), attribute("name")) == (Some(class), Some(name))
    };
    root.children.iter().flat_map(|suite| &suite.children).find(is_it).unwrap()
}

#[rstest::rstest]
#[case::passed("emulated", None)]
#[case::failed("failed", Some("failure"))]
#[case::in_its_own_place("skipped-in-the-guest", Some("error"))]
#[case::vanished("vanished", Some("error"))]
#[case::died("panicked", Some("error"))]
#[case::hung("hung", Some("error"))]
fn what_became_of_a_trial_is_told(#[case] run: &str, #[case] element: Option<&str>) {
    let root = check(&text(run)).unwrap();
    let children = &find(&root, "guest.module", "module::loads").children;
    assert_eq!(children.first().map(|child| child.name.as_str()), element);
}

#[rstest::rstest]
#[case::passed("as-on-kvm", "module", None, "")]
#[case::failed("failed", "module", Some("failure"), "FAIL: module::loads (guest) failed")]
#[case::ratio("inconclusive", "kernel_vs_fuse", Some("error"), "1.000 [0.984, 1.016] against 1")]
#[case::damage("cut", "fuse", Some("error"), "the evidence is damaged")]
#[case::tampered("tampered", "dataset", Some("error"), "the evidence is damaged")]
#[case::panicked("panicked", "module", Some("failure"), "kernel panicked")]
fn the_verdict_is_told_by_criterion(
    #[case] run: &str,
    #[case] criterion: &str,
    #[case] element: Option<&str>,
    #[case] words: &str,
) {
    let root = check(&text(run)).unwrap();
    let children = &find(&root, "verdict", &format!("verdict::{criterion}")).children;
    assert_eq!(children.first().map(|child| child.name.as_str()), element);
    let told = children.first().map_or("", |child| child.text.as_str());
    assert!(told.contains(words), "{told}");
}

/// Trials that all passed say nothing about a kernel that failed after them.
#[test]
fn a_guest_that_failed_after_its_trials_is_red() {
    let mut run = crate::made::MadeRun::healthy();
    for event in &mut run.host {
        if let Event::GuestEnded(end) = event {
            end.how = "the guest's kernel failed: Oops: 0000".to_owned();
            end.fault = evidence::GuestFault::Kernel;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    run.write(dir.path());
    let text = of(&Run::read(dir.path(), &[]).unwrap(), dir.path()).unwrap();
    let root = check(&text).unwrap();
    assert!(find(&root, "guest.module", "module::loads").children.is_empty());
    let failure = &find(&root, "verdict", "verdict::module").children[0];
    assert_eq!(failure.name, "failure");
    assert!(failure.attributes["message"].contains("Oops: 0000"));
}

/// A directory that `vexfs-validate guest` leaves behind expects no trials on the host, so it has
/// no verdict.
#[test]
fn trials_alone_have_no_verdict() {
    assert!(!with_nextest("junit-host-1.xml", NEXTEST).contains("verdict::"));
}

#[test]
fn a_death_has_the_kernels_last_words() {
    let root = check(&text("panicked")).unwrap();
    let error = &find(&root, "guest.module", "module::loads").children[0];
    assert!(error.attributes["message"].contains("kernel panicked"));
    assert!(error.text.contains("vexfs_search+0x1c"), "{}", error.text);
}

/// What nextest writes: the output of failed tests, a generic message for a skip, tests of all
/// packages.
const NEXTEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="vexfs-validation host" tests="3" failures="1" errors="0">
  <testsuite name="vexfs-validation::fuse" tests="2" disabled="0" errors="0" failures="1">
    <testcase name="fuse::mounts" classname="vexfs-validation::fuse" time="0.5">
      <failure message="it broke" type="test failure">it broke</failure>
      <system-out>mounting &lt;here&gt;</system-out>
    </testcase>
    <testcase name="fuse::elsewhere" classname="vexfs-validation::fuse">
      <skipped message="skipped by nextest"/>
    </testcase>
  </testsuite>
  <testsuite name="harness" tests="1" disabled="0" errors="0" failures="0" timestamp="2026-11-22T14:45:01.000+00:00">
    <testcase name="utc::tests::the_calendar_is_right" classname="harness" time="0.012"/>
  </testsuite>
</testsuites>
"#;

fn with_nextest(file: &str, text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(dir.path(), Place::Host).unwrap();
    let skip = |trial: &str| Event::Skipped { trial: trial.into(), reason: "in the guest".into() };
    let failed = finished("fuse::mounts", TrialState::Failed, "EIO \u{1b}[31mred\u{1}\u{ffff}");
    for event in failed.into_iter().chain([skip("fuse::elsewhere")]) {
        writer.write(event).unwrap();
    }
    fs::write(dir.path().join(file), text).unwrap();
    of(&Run::read(dir.path(), &[]).unwrap(), dir.path()).unwrap()
}

#[test]
fn nextest_lends_output_and_the_tests_that_are_no_trials() {
    let root = check(&with_nextest("junit-host-1.xml", NEXTEST)).unwrap();
    let failure = &find(&root, "host.fuse", "fuse::mounts").children[0];
    assert_eq!(failure.attributes["message"], "EIO red\u{fffd}");
    assert!(failure.text.contains("mounting <here>"), "{}", failure.text);
    let skipped = &find(&root, "host.fuse", "fuse::elsewhere").children[0];
    assert_eq!(skipped.attributes["message"], "in the guest");
    let unit = find(&root, "host.harness", "utc::tests::the_calendar_is_right");
    assert_eq!(unit.attributes["time"], "0.012");
    assert_eq!(root.children.len(), 2);
}

#[test]
fn a_file_that_is_no_junit_is_named() {
    let root = check(&with_nextest("junit-host-1.xml", "<html>")).unwrap();
    let last = root.children.last().unwrap().children.last().unwrap();
    assert!(last.text.contains("junit-host-1.xml: "), "{}", last.text);
}

#[rstest::rstest]
#[case::no_xml("<testsuites>", "no XML|not one root")]
#[case::other_root("<testsuite/>", "the root is")]
fn what_is_no_junit_is_refused(#[case] text: &str, #[case] why: &str) {
    let said = check(text).unwrap_err();
    assert!(why.split('|').any(|why| said.contains(why)), "{said}");
}

#[rstest::rstest]
#[case::attribute("<testsuites>", "<testsuites name=\"x\">")]
#[case::zone("T14:45", "T14:45Z:")]
#[case::count("tests=\"1\"", "tests=\"3\"")]
#[case::required(" hostname=\"localhost\"", "")]
#[case::twice(
    "name=\"baseline::chromadb\" classname=\"guest",
    "name=\"baseline::chromadb\" classname=\"host"
)]
#[case::order("<system-err></system-err>\n  </testsuite>", "</testsuite>")]
#[case::kind(" type=\"failed\"", "")]
#[case::output_of_a_test("<failure", "<system-out></system-out><failure")]
#[case::text("<testsuite ", "words<testsuite ")]
fn what_a_reader_would_refuse_is_found(#[case] sound: &str, #[case] spoilt: &str) {
    let text = text("failed");
    assert!(text.contains(sound), "{sound} is not in\n{text}");
    assert!(check(&text.replacen(sound, spoilt, 1)).is_err());
}
