//! Reads evidence and reports damage.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::digest::sha256;
use crate::event::{OLDEST_READABLE, Record, SCHEMA_VERSION};
use crate::files;
use crate::guest::EndOfTrail;
use crate::json;
use crate::place::Place;

/// The records of one place, as far as they can be trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Trail {
    /// The place.
    pub place: Place,
    /// Records that could be read, in order.
    pub records: Vec<Record>,
    /// What is wrong with the file; empty for a sound one.
    pub damage: Vec<Damage>,
    /// SHA-256 of each line.
    pub hashes: Vec<String>,
}

impl Trail {
    /// Where it ends; `None` if it has no line.
    pub fn end(&self) -> Option<EndOfTrail> {
        Some(EndOfTrail { lines: self.hashes.len(), sha256: self.hashes.last()?.clone() })
    }

    /// Checks the line that was the last one at `end`, and says what is wrong with it, if anything.
    pub fn since(&self, end: &EndOfTrail) -> Option<Damage> {
        let what = match end.lines.checked_sub(1).and_then(|last| self.hashes.get(last)) {
            Some(hash) if *hash == end.sha256 => return None,
            Some(_) => "was another one when the guest ended",
            None => "was there when the guest ended, and is missing",
        };
        Some(Damage { line: end.lines, what: what.to_owned() })
    }
}

/// Something wrong with a line of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Reads the trail of `place` in `dir`; `None` if there is none.
pub fn read_trail(dir: &Path, place: Place) -> io::Result<Option<Trail>> {
    match fs::read(dir.join(files::trail(place))) {
        Ok(bytes) => Ok(Some(parse(&bytes, place))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the trail of `place` in `dir` ends now; `None` if there is none.
pub fn end_of_trail(dir: &Path, place: Place) -> io::Result<Option<EndOfTrail>> {
    Ok(read_trail(dir, place)?.and_then(|trail| trail.end()))
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// Reads a line as a record.
fn read_record(line: &[u8]) -> serde_json::Result<Record> {
    let mut line = json::parse(line)?;
    // In version 1, a launch said its clock as yes or no.
    if line["v"] == 1
        && let Some(counts_instructions) = line["instruction_clock"].as_bool()
    {
        let clock = if counts_instructions { Clock::Instructions } else { Clock::Wall };
        line["clock"] = serde_json::to_value(clock)?;
    }
    let record = Record::deserialize(&line)?;
    if !json::is_as_written(&serde_json::to_value(&record)?, &line) {
        return Err(serde_json::Error::custom("not written as the schema says"));
    }
    Ok(record)
}

/// Why records of version `v` cannot be read; `None` if they can.
fn unreadable(v: u32) -> Option<String> {
    let readable = OLDEST_READABLE..=SCHEMA_VERSION;
    (!readable.contains(&v)).then(|| {
        format!(
            "schema version {v}, known are {OLDEST_READABLE} to {SCHEMA_VERSION}; judge it with the \
             vexfs-validate that wrote it"
        )
    })
}

fn parse(bytes: &[u8], place: Place) -> Trail {
    let mut trail = Trail { place, records: Vec::new(), damage: Vec::new(), hashes: Vec::new() };
    let mut previous = sha256(b"");
    let mut expected_seq = 0;
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let mut note = |what: String| trail.damage.push(Damage { line: index + 1, what });
        trail.hashes.push(sha256(line.strip_suffix(b"\n").unwrap_or(line)));
        let Some(line) = line.strip_suffix(b"\n") else {
            note("cut off in the middle".into());
            break;
        };
        match read_record(line) {
            Ok(record) => {
                if let Some(unreadable) = unreadable(record.v) {
                    note(unreadable);
                }
                if record.seq != expected_seq {
                    note(format!("record {}, expected {expected_seq}", record.seq));
                }
                if record.prev != previous {
                    note("does not follow from the line before it".into());
                }
                if record.place != place {
                    note(format!("written in the {} into the {place}'s file", record.place));
                }
                expected_seq = record.seq.saturating_add(1);
                trail.records.push(record);
            }
            Err(error) => {
                // A field may be missing because another version calls it something else.
                let version = serde_json::from_slice(line).map(|Version { v }| v);
                let unreadable = version.ok().and_then(unreadable);
                note(unreadable.unwrap_or_else(|| format!("no record: {error}")));
            }
        }
        previous.clone_from(&trail.hashes[index]);
    }
    trail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, TrialState};
    use crate::writer::Writer;

    fn written(count: usize) -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(dir.path(), Place::Host).unwrap();
        for index in 0..count {
            let event = Event::TrialFinished {
                trial: format!("fuse::{index}"),
                state: TrialState::Passed,
                message: "x".repeat(index * 5000),
                seconds: 0.5,
            };
            writer.write(event).unwrap();
        }
        let bytes = fs::read(dir.path().join("host.jsonl")).unwrap();
        (dir, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let (dir, _) = written(4);
        let trail = read_trail(dir.path(), Place::Host).unwrap().unwrap();
        assert_eq!(trail.records.len(), 4);
        assert_eq!(trail.damage, []);
        assert_eq!(read_trail(dir.path(), Place::Guest).unwrap(), None);
    }

    #[test]
    fn a_cut_line_is_damage_and_the_rest_stands() {
        let (_dir, bytes) = written(3);
        let trail = parse(&bytes[..bytes.len() - 10], Place::Host);
        assert_eq!(trail.records.len(), 2);
        assert_eq!(trail.damage[0].what, "cut off in the middle");
    }

    #[test]
    fn a_writer_goes_on_after_a_cut_line() {
        let (dir, bytes) = written(2);
        fs::write(dir.path().join("host.jsonl"), &bytes[..bytes.len() - 10]).unwrap();
        let writer = Writer::open(dir.path(), Place::Host).unwrap();
        writer.write(Event::PhaseStarted { phase: "verdict".into() }).unwrap();
        let trail = read_trail(dir.path(), Place::Host).unwrap().unwrap();
        assert_eq!(trail.records.len(), 2);
        assert!(!trail.damage.is_empty());
    }

    #[rstest::rstest]
    #[case::edited(|lines: &mut Vec<String>| lines[1] = lines[1].replace("0.5", "0.4"))]
    #[case::removed(|lines: &mut Vec<String>| { lines.remove(1); })]
    #[case::doubled(|lines: &mut Vec<String>| { let line = lines[1].clone(); lines.insert(1, line); })]
    #[case::reordered(|lines: &mut Vec<String>| lines.swap(0, 1))]
    #[case::rubbish(|lines: &mut Vec<String>| lines[2] = "{}".into())]
    fn tampering_shows(#[case] tamper: fn(&mut Vec<String>)) {
        let (_dir, bytes) = written(4);
        let mut lines: Vec<String> =
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
        tamper(&mut lines);
        let text = lines.join("\n") + "\n";
        assert_ne!(parse(text.as_bytes(), Place::Host).damage, []);
    }

    /// What serde reads and the schema does not allow. The first record stays, so that only the
    /// changed line is at fault.
    #[rstest::rstest]
    #[case::as_it_was(r#""state":"passed""#, r#""state":"passed""#, true)]
    #[case::whole_seconds(r#""seconds":0.5"#, r#""seconds":1"#, true)]
    #[case::unknown_field(r#""state""#, r#""nosuch":{"a":null},"state""#, true)]
    #[case::variant_as_object(r#""state":"passed""#, r#""state":{"passed":null}"#, false)]
    #[case::place_as_object(r#""place":"host""#, r#""place":{"host":null}"#, false)]
    #[case::doubled(r#""message":"""#, r#""message":"","message":"""#, false)]
    #[case::unknown_doubled(r#""state""#, r#""nosuch":1,"nosuch":1,"state""#, false)]
    #[case::infinite(r#""state""#, r#""nosuch":1e999,"state""#, false)]
    #[case::beyond_64_bits(r#""pid":"#, r#""pid":99999999999"#, false)]
    fn a_line_is_a_record_as_the_schema_says(
        #[case] words: &str,
        #[case] instead: &str,
        #[case] is_record: bool,
    ) {
        let (_dir, bytes) = written(1);
        let line = String::from_utf8(bytes).unwrap();
        assert!(line.contains(words), "{line}");
        let trail = parse(line.replacen(words, instead, 1).as_bytes(), Place::Host);
        assert_eq!((trail.records.len(), trail.damage.is_empty()), (is_record.into(), is_record));
    }

    /// Only version 1 says the clock of a launch as yes or no.
    #[rstest::rstest]
    #[case(1, r#""instruction_clock":true"#, Some(Clock::Instructions))]
    #[case(1, r#""clock":"wall""#, Some(Clock::Wall))]
    #[case(2, r#""clock":"instructions""#, Some(Clock::Instructions))]
    #[case(2, r#""clock":"wall","instruction_clock":true"#, Some(Clock::Wall))]
    #[case(2, r#""instruction_clock":true"#, None)]
    #[case(2, r#""clock":true"#, None)]
    #[case(1, r#""instruction_clock":"wall""#, None)]
    fn a_launch_says_its_clock(#[case] v: u32, #[case] said: &str, #[case] clock: Option<Clock>) {
        let line = format!(
            r#"{{"v":{v},"seq":0,"prev":"","time_ms":0,"place":"host","pid":1,
            "event":"guest_launched","accelerator":"tcg","accelerator_reason":"",{said},
            "qemu":{{"path":"q","version":"1"}},"kernel_release":"6.12","memory_mib":1,"cpus":1,
            "command_line":[]}}"#
        );
        let read = read_record(line.as_bytes()).ok().and_then(|record| match record.event {
            Event::GuestLaunched(launch) => Some(launch.clock),
            _ => None,
        });
        assert_eq!(read, clock);
    }

    #[test]
    fn many_writers_make_one_chain() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let dir = dir.path();
                scope.spawn(move || {
                    let writer = Writer::open(dir, Place::Guest).unwrap();
                    for index in 0..10 {
                        let phase = format!("{thread}-{index}");
                        writer.write(Event::PhaseStarted { phase }).unwrap();
                    }
                });
            }
        });
        let trail = read_trail(dir.path(), Place::Guest).unwrap().unwrap();
        assert_eq!((trail.records.len(), trail.damage), (40, vec![]));
    }

    #[test]
    fn a_full_disk_is_reported_with_the_next_step() {
        let writer = Writer::open(Path::new("/dev"), Place::Host);
        // If /dev is not writable, opening already fails; `/dev/full` stands in for a full disk.
        drop(writer);
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("host.jsonl")).unwrap();
        let writer = Writer::open(dir.path(), Place::Host).unwrap();
        let error = writer.write(Event::PhaseStarted { phase: "x".into() }).unwrap_err();
        assert!(error.to_string().contains("free some space"), "{error}");
    }
}
