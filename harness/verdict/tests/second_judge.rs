//! `fixtures/second-judge/judge.py` was written from the documents alone, and must give the same
//! verdict for every run: the golden runs, the runs that `VEXFS_VALIDATION_RUNS` names (separated
//! by `:`), and runs whose evidence was changed at random, most of them with the hash chain
//! computed again. If the two disagree, one of them or the document is wrong.

mod mutation;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evidence::stats::Ratio;
use rstest::rstest;
use serde_json::{Value, json};
use verdict::{Evidence, State, Verdict};

use mutation::Mutated;

/// The seeds of the runs that are changed, as `FIRST..LAST`.
const SEEDS_VARIABLE: &str = "VEXFS_VALIDATION_SEEDS";
const RUNS_VARIABLE: &str = "VEXFS_VALIDATION_RUNS";
/// The seeds that `make test` uses.
const SEEDS: std::ops::Range<u32> = 0..60;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn golden_runs() -> Vec<PathBuf> {
    let runs = root().join("harness/verdict/tests/runs");
    let mut all: Vec<PathBuf> =
        fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Runs the second judge with these arguments, and returns its output and exit code.
fn second(arguments: &[&str], dirs: &[&Path]) -> (String, i32) {
    let mut command = Command::new("python3");
    command.arg(root().join("fixtures/second-judge/judge.py")).args(arguments).args(dirs);
    let output = command.output().expect("python3 can be started");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.is_empty(), "{said}");
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

/// The points in which the two judges disagree about a run.
fn differences(dir: &Path, theirs: &Value) -> Vec<String> {
    let Ok(evidence) = Evidence::read(dir) else {
        let is_none = theirs["exit_code"] == evidence::exit::EVIDENCE.code;
        return if is_none { vec![] } else { vec![format!("no evidence, and {theirs}")] };
    };
    let ours: Verdict = verdict::of(&evidence);
    let mut found = Vec::new();
    let mut differ = |what: String, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{what}: {ours}, the second judge {theirs}"));
        }
    };
    differ("exit code".into(), ours.exit_code.to_string(), theirs["exit_code"].to_string());
    differ(
        format!("damage ({:?}, {})", ours.damage, theirs["damage"]),
        (!ours.damage.is_empty()).to_string(),
        (theirs["damage"] != json!([])).to_string(),
    );
    differ("state".into(), named(ours.state), words(&theirs["state"]));
    for (number, one) in ours.criteria.iter().enumerate() {
        let theirs = &theirs["criteria"][number];
        let id = one.id.id();
        differ(format!("{id}: {:?}", one.reasons), named(one.state), words(&theirs["state"]));
        let list = |name: &str| theirs[name].as_array().cloned().unwrap_or_default();
        let (ratios, recorded) = (list("ratios"), list("recorded"));
        differ(id.into(), one.ratios.len().to_string(), ratios.len().to_string());
        differ(id.into(), one.recorded.len().to_string(), recorded.len().to_string());
        for (one, theirs) in one.ratios.iter().zip(&ratios) {
            let what = format!("{} in {} ({})", one.rule, one.place, one.note);
            differ(what.clone(), one.rule.clone(), words(&theirs["rule"]));
            differ(what.clone(), one.decides.to_string(), theirs["decides"].to_string());
            differ(what.clone(), named(State::from(one.outcome)), words(&theirs["state"]));
            if !same(one.ratio, &theirs["ratio"]) {
                let (ours, theirs) = (one.ratio, &theirs["ratio"]);
                differ(what, format!("{ours:?}"), theirs.to_string());
            }
        }
        for (one, theirs) in one.recorded.iter().zip(&recorded) {
            let what = format!("{} in {} ({})", one.figure, one.place, one.note);
            differ(what.clone(), one.decides.to_string(), theirs["decides"].to_string());
            differ(what.clone(), named(State::from(one.outcome)), words(&theirs["state"]));
            if !same(one.ratio, &theirs["ratio"]) {
                let (ours, theirs) = (one.ratio, &theirs["ratio"]);
                differ(what, format!("{ours:?}"), theirs.to_string());
            }
        }
    }
    found
}

fn named(state: State) -> String {
    state.to_string()
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or("nothing").to_owned()
}

/// Whether the bounds are equal apart from rounding.
fn same(ours: Option<Ratio>, theirs: &Value) -> bool {
    let Some(ours) = ours else { return theirs.is_null() };
    let pairs = [("estimate", ours.estimate), ("lower", ours.lower), ("upper", ours.upper)];
    let near = |one: f64, other: f64| (one - other).abs() <= 1e-9 * other.abs();
    pairs.iter().all(|&(name, ours)| theirs[name].as_f64().is_some_and(|one| near(one, ours)))
}

/// Lets both judges judge all `dirs`, and returns those about which they disagree.
fn compare(dirs: &[&Path]) -> Vec<(usize, Vec<String>)> {
    let (said, code) = second(&["--json"], dirs);
    assert_eq!(code, 0);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), dirs.len());
    let each = dirs.iter().zip(lines).enumerate().map(|(number, (dir, line))| {
        (number, differences(dir, &serde_json::from_str(line).unwrap()))
    });
    each.filter(|(_, found)| !found.is_empty()).collect()
}

#[test]
fn both_judges_agree_on_golden_runs_and_on_real_ones() {
    let mut dirs = golden_runs();
    if let Some(more) = std::env::var_os(RUNS_VARIABLE) {
        dirs.extend(std::env::split_paths(&more));
    }
    let dirs: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
    let differing = compare(&dirs);
    assert!(differing.is_empty(), "{differing:#?}");
}

#[rstest]
#[case("emulated", 0)]
#[case("failed", 1)]
#[case("vanished", 3)]
#[case("no-such-run", 20)]
fn the_second_judge_ends_with_the_codes_of_the_first(#[case] run: &str, #[case] code: i32) {
    let dir = root().join("harness/verdict/tests/runs").join(run);
    let script = root().join("fixtures/second-judge/judge.py");
    let output = Command::new("python3").arg(script).arg(&dir).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(code == 20 || said.lines().count() >= 6, "{said}");
}

/// The host replaced files under the guest, and a trial there failed.
#[rstest]
#[case::stale("fio: Error 116", true)]
#[case::library("fio: libssl.so.3: cannot open shared object file", true)]
#[case::garbled("fio: /usr/lib/x86_64-linux-gnu/libssl.so.3: invalid ELF header", true)]
#[case::program("cannot run /usr/bin/rename.", true)]
#[case::of_that_name("rename: EIO", false)]
#[case::longer("/usr/bin/rename.pl: EIO", false)]
#[case::below("/mnt/usr/bin/rename: EIO", false)]
fn both_judges_agree_on_what_the_host_did(#[case] message: &str, #[case] excused: bool) {
    let golden = root().join("harness/verdict/tests/runs/failed");
    let made = Mutated::whole(&golden, |record| {
        if record["event"] == "guest_ended" {
            record["host_changes"] =
                json!(["/usr/bin/rename", "/usr/lib/x86_64-linux-gnu/libssl.so.3"]);
        } else if record["trial"] == "module::loads" && record["state"] == "failed" {
            record["message"] = message.into();
        }
    });
    assert_eq!(compare(&[made.dir()]), [], "{}", made.told());
    let verdict = verdict::of(&Evidence::read(made.dir()).unwrap());
    assert_eq!(verdict.damage, Vec::<String>::new());
    let module = verdict.criteria.iter().find(|one| one.id.id() == "module").unwrap();
    assert_eq!(module.state, if excused { State::Inconclusive } else { State::Fail });
}

/// The golden run with `edit` applied to each record, about which the judges must agree.
fn agreed(golden: &str, edit: impl Fn(&mut Value)) -> Verdict {
    let golden = root().join("harness/verdict/tests/runs").join(golden);
    let made = Mutated::whole(&golden, edit);
    assert_eq!(compare(&[made.dir()]), [], "{}", made.told());
    verdict::of(&Evidence::read(made.dir()).unwrap())
}

fn state_of(verdict: &Verdict, criterion: &str) -> State {
    verdict.criteria.iter().find(|one| one.id.id() == criterion).unwrap().state
}

/// Only how the guest ended is changed: all trials have passed.
#[rstest]
#[case::limit("fault", json!("other"), "module")]
#[case::code("code", json!(100), "fuse")]
#[case::no_code("code", json!(null), "fuse")]
#[case::trouble("trouble", json!(["UBSAN: shift-out-of-bounds in x.c:1:1"]), "module")]
fn both_judges_agree_on_how_a_guest_ended(
    #[case] field: &str,
    #[case] value: Value,
    #[case] leaves_open: &str,
) {
    let verdict = agreed("emulated", |record| {
        if record["event"] == "guest_ended" {
            record[field] = value.clone();
        }
    });
    assert_eq!((verdict.state, &verdict.damage), (State::Inconclusive, &vec![]));
    assert_eq!(state_of(&verdict, leaves_open), State::Inconclusive);
}

/// The test runner reports a failure, and no trial does.
#[test]
fn both_judges_agree_on_a_phase_that_failed_alone() {
    let verdict = agreed("emulated", |record| {
        if record["event"] == "phase_finished" {
            record["state"] = json!("failed");
        }
    });
    assert!(verdict.damage.is_empty());
    assert!(verdict.criteria.iter().all(|one| one.state == State::Inconclusive));
}

/// A trial that failed counts even if the manifest does not know it.
#[test]
fn both_judges_agree_on_a_failure_that_nobody_expected() {
    let verdict = agreed("failed", |record| {
        if record["trial"] == "module::loads" {
            record["trial"] = json!("module::another");
        }
    });
    assert_eq!(state_of(&verdict, "module"), State::Fail);
}

/// Other trials of the guest are expected, and none of this criterion.
#[test]
fn both_judges_agree_on_a_criterion_without_trials_in_the_guest() {
    let is_of_fuse = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("fuse::"));
    let verdict = agreed("emulated", |record| {
        if record["event"] == "expected" && record["at"] == "guest" {
            record["trials"].as_array_mut().unwrap().retain(|name| !is_of_fuse(name));
        }
        if record["place"] == "guest" && is_of_fuse(&record["trial"]) {
            *record = json!({ "v": 2, "seq": 0, "prev": "", "time_ms": 0, "place": "guest",
                "pid": 1, "event": "skipped", "trial": "fuse::mounts", "reason": "" });
        }
    });
    assert!(verdict.damage.is_empty());
    assert_eq!(state_of(&verdict, "fuse"), State::Inconclusive);
}

/// A comparison that cannot be read leaves the criterion open; it is no fault of the judge's.
#[rstest]
#[case::nothing(json!(null))]
#[case::no_figure(json!({ "threshold": 2.0, "decides": true, "batch_ns": [1] }))]
#[case::a_list(json!([1, 2]))]
#[case::words(json!("none"))]
fn both_judges_agree_on_a_comparison_that_says_nothing(#[case] value: Value) {
    let verdict = agreed("emulated", |record| {
        if record["name"] == "compared with a recorded figure" {
            record["value"] = value.clone();
        }
    });
    assert!(verdict.damage.is_empty());
    assert_eq!(state_of(&verdict, "baseline"), State::Inconclusive);
}

/// The same with one field of the comparison changed.
#[rstest]
#[case::words_for_a_time("/batch_ns/3", json!("soon"))]
#[case::no_time("/batch_ns/3", json!(0))]
#[case::a_float("/batch_ns/3", json!(1.5))]
#[case::a_time_less_than_none("/batch_ns/3", json!(-1))]
#[case::no_rows("/figure/rows", json!(0))]
#[case::no_rate("/figure/value", json!(0))]
#[case::a_rate_less_than_none("/figure/value", json!(-1.0))]
#[case::another_system("/figure/system", json!("nosuch"))]
#[case::no_threshold("/threshold", json!("2"))]
fn both_judges_agree_on_a_comparison_that_is_spoilt(#[case] at: &str, #[case] value: Value) {
    let verdict = agreed("as-on-kvm", |record| {
        if record["name"] == "compared with a recorded figure" {
            *record["value"].pointer_mut(at).unwrap() = value.clone();
        }
    });
    assert!(verdict.damage.is_empty());
    assert_eq!(state_of(&verdict, "baseline"), State::Inconclusive);
}

/// The last line of a run is replaced by one that some reader of JSON takes and another refuses.
#[rstest]
#[case::as_it_was("", "", false)]
#[case::not_a_number("\"pid\":1", "\"nosuch\":NaN,\"pid\":1", true)]
#[case::infinite("\"pid\":1", "\"nosuch\":1e999,\"pid\":1", true)]
#[case::infinite_inside("\"pid\":1", "\"nosuch\":[{\"a\":-1e999}],\"pid\":1", true)]
#[case::small("\"pid\":1", "\"nosuch\":1e-999,\"pid\":1", false)]
#[case::doubled("\"pid\":1", "\"pid\":1,\"pid\":1", true)]
#[case::doubled_inside("\"pid\":1", "\"nosuch\":{\"a\":1,\"a\":1},\"pid\":1", true)]
#[case::beyond_32_bits("\"pid\":1", "\"pid\":4294967296", true)]
#[case::up_to_32_bits("\"pid\":1", "\"pid\":4294967295", false)]
#[case::beyond_64_bits("\"time_ms\":0", "\"time_ms\":18446744073709551616", true)]
#[case::less_than_nothing("\"pid\":1", "\"pid\":-0", true)]
#[case::half_a_pair("\"pid\":1", "\"nosuch\":\"\\ud800\",\"pid\":1", true)]
#[case::a_pair("\"pid\":1", "\"nosuch\":\"\\ud83d\\ude00\",\"pid\":1", false)]
#[case::byte_order_mark("{", "\u{feff}{", true)]
#[case::variant_as_object("\"place\":\"host\"", "\"place\":{\"host\":null}", true)]
#[case::place("\"place\":\"host\"", "\"place\":null", true)]
fn both_judges_agree_on_what_json_is(
    #[case] words: &str,
    #[case] instead: &str,
    #[case] is_damage: bool,
) {
    let golden = root().join("harness/verdict/tests/runs/emulated");
    let made = Mutated::whole(&golden, |record| {
        record["time_ms"] = json!(0);
        record["pid"] = json!(1);
    });
    let path = made.dir().join("host.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    assert!(text[last..].contains(words), "{}", &text[last..]);
    let changed = text[..last].to_owned() + &text[last..].replacen(words, instead, 1);
    fs::write(&path, changed).unwrap();
    assert_eq!(compare(&[made.dir()]), []);
    let verdict = verdict::of(&Evidence::read(made.dir()).unwrap());
    assert_eq!(!verdict.damage.is_empty(), is_damage, "{:?}", verdict.damage);
}

#[rstest]
#[case::within(100, false)]
#[case::deepest(127 - 1, false)]
#[case::beyond(128 - 1, true)]
#[case::far_beyond(100_000, true)]
fn both_judges_agree_on_how_deep_a_line_may_be(#[case] depth: usize, #[case] is_damage: bool) {
    let golden = root().join("harness/verdict/tests/runs/emulated");
    let made = Mutated::whole(&golden, |_| {});
    let path = made.dir().join("host.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    let nested = "[".repeat(depth) + &"]".repeat(depth);
    let line = text[last..].replacen('{', &format!("{{\"nosuch\":{nested},"), 1);
    fs::write(&path, text[..last].to_owned() + &line).unwrap();
    assert_eq!(compare(&[made.dir()]), []);
    let verdict = verdict::of(&Evidence::read(made.dir()).unwrap());
    assert_eq!(!verdict.damage.is_empty(), is_damage, "{:?}", verdict.damage);
}

/// What stands for no value is left out, and is not `null`.
#[rstest]
#[case::no_controls("measurement", "/passes/0/7/controls", "controls")]
#[case::no_noise("measurement", "/passes/0/7/noise", "noise")]
#[case::not_cut_short("measurement", "", "cut_short")]
#[case::no_end("guest_ended", "", "evidence")]
#[case::no_clock("environment", "", "clock")]
fn both_judges_agree_that_null_is_no_value(
    #[case] event: &str,
    #[case] at: &str,
    #[case] name: &str,
) {
    let parent = at.strip_suffix(&format!("/{name}")).unwrap_or(at);
    let golden = root().join("harness/verdict/tests/runs/emulated");
    // `whole` seals the guest's end before the edit would be lost, so it is made afterwards.
    let made = Mutated::whole(&golden, |_| {});
    let place = if event == "measurement" { "guest" } else { "host" };
    let path = made.dir().join(format!("{place}.jsonl"));
    let text = fs::read_to_string(&path).unwrap();
    let mut changed = String::new();
    for line in text.lines() {
        let mut record: Value = serde_json::from_str(line).unwrap();
        if record["event"] == event {
            record.pointer_mut(parent).unwrap()[name] = Value::Null;
        }
        changed += &(record.to_string() + "\n");
    }
    fs::write(&path, changed).unwrap();
    assert_eq!(compare(&[made.dir()]), []);
    let verdict = verdict::of(&Evidence::read(made.dir()).unwrap());
    let refused = verdict.damage.iter().any(|one| one.contains("no record"));
    assert!(refused, "{:?}", verdict.damage);
}

/// The launcher's last word counts, and every boot of the guest has its end.
#[rstest]
#[case::no_evidence(|record: &mut Value| if record["event"] == "guest_ended" {
    record.as_object_mut().unwrap().remove("evidence");
})]
#[case::one_boot_too_many(|record: &mut Value| if record["event"] == "self_test" {
    let fields = ["v", "seq", "prev", "time_ms", "place", "pid"].map(|name| record[name].clone());
    let [v, seq, prev, time_ms, place, pid] = fields;
    *record = json!({ "v": v, "seq": seq, "prev": prev, "time_ms": time_ms, "place": place,
        "pid": pid, "event": "environment", "place_reason": "", "place_marks": [],
        "kernel_release": "", "cpu": "", "cpus": 1, "memory_kib": 1, "accelerator": "tcg",
        "commit": "", "programs": {}, "versions": {} });
})]
fn both_judges_agree_on_the_launchers_last_word(#[case] edit: fn(&mut Value)) {
    let golden = root().join("harness/verdict/tests/runs/emulated");
    let made = Mutated::unsealed(&golden, edit);
    assert_eq!(compare(&[made.dir()]), []);
    let verdict = verdict::of(&Evidence::read(made.dir()).unwrap());
    assert!(!verdict.damage.is_empty());
}

/// Runs of every state must be left without damage: two judges that agree only about damage have
/// not been compared.
#[test]
fn both_judges_agree_on_runs_that_were_changed() {
    let seeds = match std::env::var(SEEDS_VARIABLE) {
        Ok(text) => {
            let (first, last) = text.split_once("..").expect("FIRST..LAST");
            first.parse().unwrap()..last.parse().unwrap()
        }
        Err(_) => SEEDS,
    };
    let golden = golden_runs();
    let mut states = std::collections::BTreeMap::new();
    let mut wrong = Vec::new();
    let all: Vec<u32> = seeds.collect();
    for seeds in all.chunks(50) {
        let made: Vec<Mutated> = seeds.iter().map(|&seed| Mutated::of(&golden, seed)).collect();
        let dirs: Vec<&Path> = made.iter().map(|one| one.dir()).collect();
        for dir in &dirs {
            let state = Evidence::read(dir).map(|evidence| verdict::of(&evidence));
            let whole = state.as_ref().is_ok_and(|verdict| verdict.damage.is_empty());
            let name = state.map_or_else(|_| "none".to_owned(), |verdict| named(verdict.state));
            *states.entry((name, whole)).or_insert(0) += 1;
        }
        for (number, found) in compare(&dirs) {
            wrong.push(format!("seed {} ({}): {found:#?}", seeds[number], made[number].told()));
        }
    }
    println!("{states:?}");
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), all.len(), wrong.join("\n"));
    for state in ["PASS", "FAIL", "INCONCLUSIVE"] {
        assert!(states.contains_key(&(state.to_owned(), true)), "no whole run {state}: {states:?}");
    }
}
