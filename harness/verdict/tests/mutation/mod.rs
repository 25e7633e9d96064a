//! Evidence with random changes, reproducible from a seed.

use std::fs;
use std::path::{Path, PathBuf};

use rand_mt::Mt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A golden run with changes, in a directory of its own.
pub struct Mutated {
    dir: tempfile::TempDir,
    told: String,
}

const PLACES: [&str; 2] = ["host", "guest"];

impl Mutated {
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A description of the changes.
    pub fn told(&self) -> &str {
        &self.told
    }

    /// The run in `golden` with each record of host and guest changed by `edit`, and no damage.
    pub fn whole(golden: &Path, edit: impl Fn(&mut Value)) -> Mutated {
        Mutated::made(golden, |_| {}, edit)
    }

    /// As [`Mutated::whole`], and the host's records are changed by `edit` again when the launcher's
    /// word on the guest's last line is in them.
    pub fn unsealed(golden: &Path, edit: impl Fn(&mut Value)) -> Mutated {
        Mutated::made(golden, &edit, &edit)
    }

    fn made(golden: &Path, last: impl Fn(&mut Value), edit: impl Fn(&mut Value)) -> Mutated {
        let [mut host, mut guest] = PLACES.map(|place| {
            let text = fs::read_to_string(golden.join(format!("{place}.jsonl"))).unwrap();
            let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let mut records: Vec<Value> = records.collect();
            records.iter_mut().for_each(&edit);
            records
        });
        let guest_text = text_of(&mut guest, true);
        seal(&mut host, &guest_text);
        host.iter_mut().for_each(last);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("host.jsonl"), text_of(&mut host, true)).unwrap();
        fs::write(dir.path().join("guest.jsonl"), guest_text).unwrap();
        Mutated { dir, told: "changed on purpose".to_owned() }
    }

    /// Makes one to three changes to one of the `golden` runs, most often to one in which
    /// everything was measured.
    pub fn of(golden: &[PathBuf], seed: u32) -> Mutated {
        let mut dice = MutationDice(Mt::new(seed));
        let is_whole = |path: &&PathBuf| path.ends_with("emulated") || path.ends_with("as-on-kvm");
        let whole: Vec<&PathBuf> = golden.iter().filter(is_whole).collect();
        let of = if dice.one_in(4) { dice.of(golden) } else { dice.of(&whole) };
        let mut files = PLACES.map(|place| {
            let text = fs::read_to_string(of.join(format!("{place}.jsonl"))).unwrap_or_default();
            let records = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            records.collect::<Vec<Value>>()
        });
        let mut told = vec![of.file_name().unwrap().to_string_lossy().into_owned()];
        for _ in 0..=dice.below(3) {
            told.push(change(&mut dice, &mut files));
        }
        let anew = !dice.one_in(6);
        if !anew {
            told.push("the chain left as it was".to_owned());
        }
        let [mut host, mut guest] = files;
        let guest_text = text_of(&mut guest, anew);
        if !dice.one_in(8) {
            seal(&mut host, &guest_text);
        } else {
            told.push("the launcher's word left as it was".to_owned());
        }
        let mut texts = [text_of(&mut host, anew), guest_text];
        if dice.one_in(20) {
            let place = dice.below(2);
            let cut = dice.below(texts[place].len() + 1);
            texts[place].truncate(cut);
            told.push(format!("{} cut at {cut}", PLACES[place]));
        }
        let dir = tempfile::tempdir().unwrap();
        for (place, text) in PLACES.iter().zip(&texts) {
            if !text.is_empty() {
                fs::write(dir.path().join(format!("{place}.jsonl")), text).unwrap();
            }
        }
        Mutated { dir, told: told.join(", ") }
    }
}

struct MutationDice(Mt);

impl MutationDice {
    fn below(&mut self, many: usize) -> usize {
        self.0.next_u32() as usize % many.max(1)
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len());
        &all[at]
    }

    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }
}

/// Writes the records as lines. If `anew`, computes sequence numbers and hashes again.
fn text_of(records: &mut [Value], anew: bool) -> String {
    let mut text = String::new();
    let mut before = String::new();
    for (number, record) in records.iter_mut().enumerate() {
        if anew {
            record["seq"] = json!(number);
            record["prev"] = json!(hash(&before));
        }
        before = record.to_string();
        text += &(before.clone() + "\n");
    }
    text
}

fn hash(line: &str) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the launcher's last record of the guest's evidence match `guest`.
fn seal(host: &mut [Value], guest: &str) {
    let end = host.iter_mut().rev().find(|record| record["event"] == "guest_ended");
    if let (Some(end), Some(last)) = (end, guest.lines().last()) {
        end["evidence"] = json!({ "lines": guest.lines().count(), "sha256": hash(last) });
    }
}

/// Makes one change to the records of host and guest, and describes it.
fn change(dice: &mut MutationDice, files: &mut [Vec<Value>; 2]) -> String {
    let place = dice.below(2);
    let count = files[place].len();
    if count == 0 {
        return format!("{} is not there", PLACES[place]);
    }
    let at = dice.below(count);
    let records = &mut files[place];
    let of = |record: &Value| record["event"].as_str().unwrap_or("?").to_owned();
    let name = format!("{} {at} ({})", PLACES[place], of(&records[at]));
    match dice.below(15) {
        0 => {
            records.remove(at);
            format!("{name} dropped")
        }
        1 => {
            let other = dice.below(count);
            records.swap(at, other);
            format!("{name} and {other} swapped")
        }
        2 => {
            let copy = records[at].clone();
            let to = dice.below(count);
            records.insert(to, copy);
            format!("{name} again at {to}")
        }
        3 => {
            let edit = edit(dice, &mut records[at], "");
            format!("{name}{edit}")
        }
        4 => {
            let trials = ["trial_finished", "guest_ended", "self_test", "phase_finished"];
            let record = records.iter_mut().filter(|record| trials.contains(&&*of(record)));
            let mut all: Vec<&mut Value> = record.collect();
            let at = dice.below(all.len());
            let Some(record) = all.get_mut(at) else { return "nothing".to_owned() };
            let edit = edit(dice, record, "");
            format!("{}{edit}", of(record))
        }
        5 => {
            // How a guest, a phase or a trial ended, and nothing else.
            let ends = [
                ("guest_ended", "fault", ["none", "other", "kernel"]),
                ("phase_finished", "state", ["done", "failed", "not_run"]),
                ("trial_finished", "state", ["passed", "failed", "undecided"]),
            ];
            let (event, field, states) = dice.of(&ends);
            let mut all: Vec<&mut Value> =
                files.iter_mut().flatten().filter(|record| of(record) == *event).collect();
            let at = dice.below(all.len());
            let Some(record) = all.get_mut(at) else { return "nothing".to_owned() };
            record[field] = json!(dice.of(states));
            format!("{event}.{field} is {}", record[field])
        }
        6 => {
            let mut all: Vec<&mut Value> =
                files.iter_mut().flatten().filter(|record| of(record) == "fact").collect();
            let at = dice.below(all.len());
            let Some(record) = all.get_mut(at) else { return "nothing".to_owned() };
            let edit = edit(dice, &mut record["value"], "");
            format!("fact {}{edit}", record["name"])
        }
        7 => {
            let mut codes: Vec<&mut Value> = files
                .iter_mut()
                .flatten()
                .filter(|record| of(record) == "guest_ended")
                .filter_map(|record| record.get_mut("code"))
                .collect();
            let at = dice.below(codes.len());
            let Some(code) = codes.get_mut(at) else { return "nothing".to_owned() };
            **code = [json!(0), json!(1), json!(100), json!(null)][dice.below(4)].clone();
            format!("the guest's code is {code}")
        }
        _ => {
            let mut all: Vec<&mut Value> =
                files.iter_mut().flatten().filter(|record| of(record) == "measurement").collect();
            let at = dice.below(all.len());
            let Some(record) = all.get_mut(at) else { return "nothing".to_owned() };
            format!("{} {}", record["rule"].clone(), measured(dice, record))
        }
    }
}

/// Changes one thing somewhere in a value.
fn edit(dice: &mut MutationDice, value: &mut Value, path: &str) -> String {
    match value {
        Value::Object(fields) => {
            // The fields of the hash chain are computed again anyway.
            let names: Vec<String> = fields
                .keys()
                .filter(|name| !["seq", "prev"].contains(&&***name))
                .cloned()
                .collect();
            let Some(name) = (!names.is_empty()).then(|| dice.of(&names).clone()) else {
                return format!("{path} is empty");
            };
            if dice.one_in(12) {
                fields.remove(&name);
                return format!("{path}.{name} left out");
            }
            edit(dice, &mut fields[&name], &format!("{path}.{name}"))
        }
        Value::Array(items) if !items.is_empty() => {
            let at = dice.below(items.len());
            match dice.below(6) {
                0 => {
                    items.remove(at);
                    format!("{path}[{at}] left out")
                }
                1 => {
                    let one = items[at].clone();
                    items.push(one);
                    format!("{path}[{at}] again")
                }
                _ => edit(dice, &mut items[at], &format!("{path}[{at}]")),
            }
        }
        Value::Bool(is) => {
            *is = !*is;
            format!("{path} is {is}")
        }
        Value::Number(number) => {
            let whole = number.as_u64();
            let changed = match (dice.below(5), whole) {
                (0, _) => json!(0),
                (1, Some(number)) => json!(number + 1),
                (2, Some(number)) => json!(number * 2),
                (3, _) => json!(number.as_f64().unwrap_or_default() * 1.01 + 0.001),
                _ => json!(-1),
            };
            *value = changed;
            format!("{path} is {value}")
        }
        Value::String(text) => {
            let words = [
                "passed",
                "failed",
                "undecided",
                "host",
                "guest",
                "kernel",
                "other",
                "none",
                "tcg",
                "kvm",
                "native",
                "wall",
                "instructions",
                "AB",
                "module::loads",
                "fuse::mounts",
                "module::another",
                "nowhere::else",
                "",
            ];
            *text = (*dice.of(&words)).to_owned();
            format!("{path} is {text:?}")
        }
        _ => {
            *value = json!(1);
            format!("{path} is 1")
        }
    }
}

/// Changes the rounds of a measurement.
fn measured(dice: &mut MutationDice, record: &mut Value) -> String {
    let sides = ["a_ns", "b_ns", "again_ns", "slowed_ns", "a_unseen_ns", "b_unseen_ns"];
    match dice.below(8) {
        0 => {
            // Add further looks, which are only allowed if the earlier ones were undecided.
            let more = [2, 9, 1][dice.below(3)];
            let Some(passes) = record["passes"].as_array_mut() else { return String::new() };
            let first = passes[0].clone();
            passes.extend(std::iter::repeat_n(first, more));
            let ratio = 0.4 + dice.uniform();
            scale(record, |side, time| if side == "b_ns" { time * ratio } else { time });
            format!("{more} passes more, B's times by {ratio}")
        }
        1 => {
            let threshold = record["threshold"].as_f64().unwrap_or(1.0);
            let spread = [0.0, 0.01, 0.1, 1.0][dice.below(4)];
            let by = 0.9 + 0.2 * dice.uniform();
            // Move the ratio near the threshold, with noise in each time.
            let mut noise = MutationDice(Mt::new(dice.0.next_u32()));
            let now = record["passes"][0][10].clone();
            let total = |side: &str| {
                now[side].as_array().into_iter().flatten().filter_map(Value::as_f64).sum::<f64>()
            };
            let (a, b) = (total("a_ns"), total("b_ns"));
            let to = threshold * by * a / b;
            scale(record, |side, time| {
                let by = if side == "b_ns" { to } else { 1.0 };
                time * by * (spread * (noise.uniform() - 0.5)).exp()
            });
            format!("at {by} times its threshold, noise {spread}")
        }
        2 => {
            let side = *dice.of(&sides);
            let by = [0.5, 0.95, 1.02, 1.1, 4.0, 0.0][dice.below(6)];
            scale(record, |of, time| if of == side { time * by } else { time });
            format!("{side} by {by}")
        }
        3 => {
            let (side, by) = (*dice.of(&["a", "b"]), dice.uniform());
            record[side]["recall"] = if dice.one_in(3) { Value::Null } else { json!(by) };
            format!("{side}'s recall {by}")
        }
        4 => {
            let mut rounds = rounds_of(record);
            for round in &mut rounds {
                round["controls"]["again_ns"] = round["a_ns"].clone();
            }
            "the copy's times are A's".to_owned()
        }
        5 => {
            let round = record["passes"][0][7].clone();
            let waiting = [900, 60_000][dice.below(2)];
            let mut aside = round;
            aside["noise"] = json!({ "wall_us": 200_000, "waiting_us": waiting, "stolen_us": 0 });
            let count = 1 + dice.below(7);
            record["disturbed"] = json!(vec![aside; count]);
            format!("{count} rounds put aside, {waiting} us")
        }
        6 => {
            record["clock"] = json!(dice.of(&["wall", "instructions"]));
            "another clock".to_owned()
        }
        _ => {
            let (pass, round) = (0, dice.below(25));
            let edit = edit(dice, &mut record["passes"][pass][round], "");
            format!("round {round}{edit}")
        }
    }
}

fn rounds_of(record: &mut Value) -> Vec<&mut Value> {
    let passes = record["passes"].as_array_mut().into_iter().flatten();
    passes.filter_map(Value::as_array_mut).flatten().collect()
}

/// Applies `by` to each time of each round.
fn scale(record: &mut Value, mut by: impl FnMut(&str, f64) -> f64) {
    for round in rounds_of(record) {
        for side in ["a_ns", "b_ns"] {
            times(&mut round[side], side, &mut by);
        }
        if let Some(controls) = round.get_mut("controls").and_then(Value::as_object_mut) {
            for (side, of) in controls {
                times(of, side, &mut by);
            }
        }
    }
}

fn times(of: &mut Value, side: &str, by: &mut impl FnMut(&str, f64) -> f64) {
    for time in of.as_array_mut().into_iter().flatten() {
        if let Some(number) = time.as_f64() {
            *time = json!(by(side, number).max(0.0) as u64);
        }
    }
}
