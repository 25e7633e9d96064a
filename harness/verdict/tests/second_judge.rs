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
use serde_json::Value;
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
        (theirs["damage"] != serde_json::json!([])).to_string(),
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
                serde_json::json!(["/usr/bin/rename", "/usr/lib/x86_64-linux-gnu/libssl.so.3"]);
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
