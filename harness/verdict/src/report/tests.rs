//! Reports of golden runs.

pub(crate) mod golden;
mod repro;

use std::fs;

use evidence::files::{REPORT_PAGE, SABOTAGE, SANITIZED};
use golden::{files, golden};

use super::*;
use crate::judge;
use crate::rule::judgement::State;
use crate::trails::Evidence;

#[rstest::rstest]
#[case::emulated("emulated")]
#[case::failed("failed")]
#[case::skipped_in_the_guest("skipped-in-the-guest")]
#[case::panicked("panicked")]
#[case::interrupted("interrupted")]
#[case::cut("cut")]
#[case::as_on_kvm("as-on-kvm")]
#[case::inconclusive("inconclusive")]
#[case::vanished("vanished")]
#[case::wrong_place("wrong-place")]
#[case::tampered("tampered")]
#[case::in_cycle_150("panicked-in-cycle-150")]
#[case::hung("hung")]
fn every_run_has_its_report(#[case] case: &str) {
    let run = Run::read(&golden(case), &[]).unwrap();
    insta::assert_snapshot!(format!("{case}.md"), markdown(&run));
    insta::assert_snapshot!(format!("{case}.ktap"), ktap(&run));
    well_formed(&html(&run));
}

/// An interrupted run has no `verdict.json`, but its verdict can be computed all the same.
#[test]
fn the_verdict_is_what_it_was() {
    for case in golden::CASES {
        let verdict = judge::of(&Evidence::read(&golden(case)).unwrap());
        let text = serde_json::to_string_pretty(&verdict).unwrap() + "\n";
        match fs::read_to_string(golden(case).join("verdict.json")) {
            Ok(before) => assert!(text == before, "{case}"),
            Err(_) => assert_eq!((case, verdict.state), ("interrupted", State::Inconclusive)),
        }
    }
}

/// Checks for errors that a browser would forgive: an unclosed tag, an anchor that leads nowhere.
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
fn a_report_is_written_elsewhere_too() {
    let into = tempfile::tempdir().unwrap();
    let cut = golden("cut");
    let run = Run::read(&cut, &[]).unwrap();
    let page = write(&run, &cut, into.path()).unwrap();
    assert_eq!(page, into.path().join(REPORT_PAGE));
    let names: Vec<String> = files(into.path()).into_keys().collect();
    assert_eq!(names, ["junit.xml", "report.html", "report.ktap", "report.md"]);
    assert!(Run::read(into.path(), &[]).is_err(), "there is no evidence in it");
}

/// The results of `make sabotage` and `make sanitize` have sections of their own.
#[test]
fn lanes_of_their_own_are_shown() {
    let into = tempfile::tempdir().unwrap();
    for (name, text) in files(&golden("emulated")) {
        fs::write(into.path().join(name), text).unwrap();
    }
    let without = html(&Run::read(into.path(), &[]).unwrap());
    assert!(!without.contains("id=\"sabotage\"") && !without.contains("id=\"sanitizers\""));

    let found = serde_json::json!({
        "saboteur": "ignores-unlink", "twin_of": "FUSE daemon", "fault": "does nothing",
        "criterion": "fuse", "found_by": ["fuse::unlink"], "message": "it is <still> there",
        "seconds": 0.2, "commit": "0123456",
    });
    for lane in [SABOTAGE, SANITIZED] {
        fs::create_dir(into.path().join(lane)).unwrap();
    }
    fs::write(into.path().join("sabotage/ignores-unlink.json"), found.to_string()).unwrap();
    fs::write(into.path().join("sabotage/all.txt"), "ignores-unlink\npanics\n").unwrap();
    for (name, text) in files(&golden("failed")) {
        fs::write(into.path().join("sanitize").join(name), text).unwrap();
    }
    let configuration = "CONFIG_KASAN=y\n# CONFIG_PROVE_LOCKING is not set\n";
    fs::write(into.path().join("sanitize/kernel.config"), configuration).unwrap();
    let run = Run::read(into.path(), &[]).unwrap();
    let page = html(&run);
    well_formed(&page);
    for words in
        ["ignores-unlink", "it is &lt;still&gt; there", "1 in commit 0123456", "not found: panics"]
    {
        assert!(page.contains(words), "{words}");
    }
    let section = page.split("<section id=\"sanitizers\"").nth(1).unwrap();
    assert!(
        section.contains("Of 1 trials 0 passed; skipped: 0")
            && section.contains("expected &lt;8 rows")
    );
    let markdown = markdown(&run);
    assert!(markdown.contains("beyond its bounds | yes |"), "{markdown}");
    assert!(markdown.contains("in the wrong context | NO |"), "{markdown}");
    assert!(markdown.contains("ignores-unlink"), "{markdown}");
}

/// A guest that goes down in its second trial has run two of four trials, and not two of two.
#[test]
fn a_lane_that_was_cut_short_does_not_look_whole() {
    let into = tempfile::tempdir().unwrap();
    for (name, text) in files(&golden("emulated")) {
        fs::write(into.path().join(name), text).unwrap();
    }
    let lane = into.path().join(SANITIZED);
    fs::create_dir(&lane).unwrap();
    for (name, text) in files(&golden("panicked")) {
        // Its host expected no trials, as with `vexfs-validate guest`.
        if name != "host.jsonl" {
            fs::write(lane.join(name), text).unwrap();
        }
    }
    let said = || markdown(&Run::read(into.path(), &[]).unwrap());
    assert!(said().contains("Which trials were to run is not known"));
    assert!(said().contains("The launcher left no word on how the guest ended."));

    let listed = "vexfs-validation::module module::append\nvexfs-validation::module module::fsx\n\
                  vexfs-validation::module module::zeroes\n";
    fs::write(lane.join("to-run.txt"), listed).unwrap();
    let text = said();
    let told = "Of 4 trials 0 passed; skipped: 0, not run: 3, begun and never ended: 1.";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("| module::append | not run |"), "{text}");
    assert!(!text.contains("Left out here"), "{text}");

    // The only trial of the module that the run expects was not to run in this lane.
    for (name, text) in files(&golden("cut")) {
        fs::write(lane.join(name), text.replace("module::loads", "fuse::loads")).unwrap();
    }
    let text = said();
    assert!(text.contains("the evidence is damaged: guest evidence, line "), "{text}");
    assert!(text.contains("The launcher says: the guest's command ended with status 0."));
    assert!(text.contains("says why): module::loads."), "{text}");
}

/// Evidence that exists but cannot be read must not look like an empty run.
#[test]
fn a_report_is_of_evidence_or_of_none() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden("emulated").join("guest-launch.json"), dir.path().join("guest-launch.json"))
        .unwrap();
    assert!(Run::read(dir.path(), &[]).is_ok(), "a launcher has begun there, and no more");
    fs::create_dir(dir.path().join("host.jsonl")).unwrap();
    assert!(Run::read(dir.path(), &[]).is_err());
}

#[test]
fn what_cannot_be_read_beside_the_evidence_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden("interrupted").join("host.jsonl"), dir.path().join("host.jsonl")).unwrap();
    fs::create_dir_all(dir.path().join(SABOTAGE)).unwrap();
    fs::write(dir.path().join(SABOTAGE).join("all.txt"), "warns-once\n").unwrap();
    fs::write(dir.path().join(SABOTAGE).join("warns-once.json"), "{").unwrap();
    fs::create_dir(dir.path().join(SANITIZED)).unwrap();
    fs::write(dir.path().join("guest-launch.json"), "{").unwrap();
    let missing = Run::read(dir.path(), &[]).unwrap().missing.join("\n");
    for words in
        ["sabotage: it cannot be read: ", "warns-once.json", "sanitize: ", "guest-launch.json: "]
    {
        assert!(missing.contains(words), "{words} is not in\n{missing}");
    }
}
