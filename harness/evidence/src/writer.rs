//! Appends records, one synced line each. Any number of processes of a place may write.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::digest::sha256;
use crate::event::{Event, Record, SCHEMA_VERSION};
use crate::files;
use crate::place::Place;

/// Evidence that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("evidence cannot be written to {}: {source}; {}", path.display(), remedy(source))]
pub struct EvidenceError {
    path: PathBuf,
    source: io::Error,
}

impl EvidenceError {
    /// The file, and what the system said.
    pub fn into_parts(self) -> (PathBuf, io::Error) {
        (self.path, self.source)
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or name another directory with --evidence"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a directory that you may write to with --evidence"
        }
        _ => "name another directory with --evidence",
    }
}

/// Writes the evidence of one place.
#[derive(Debug)]
pub struct Writer {
    path: Option<PathBuf>,
    place: Place,
}

impl Writer {
    /// Writes into `dir`, which is created if it is missing.
    ///
    /// # Errors
    /// [`EvidenceError`] if the directory or its file cannot be made.
    pub fn open(dir: &Path, place: Place) -> Result<Self, EvidenceError> {
        let path = dir.join(files::trail(place));
        let attempt = || {
            fs::create_dir_all(dir)?;
            OpenOptions::new().create(true).append(true).open(&path)
        };
        match attempt() {
            Ok(_) => Ok(Writer { path: Some(path), place }),
            Err(source) => Err(EvidenceError { path, source }),
        }
    }

    /// A writer that discards everything, for a test that a person runs by hand.
    pub fn disabled(place: Place) -> Self {
        Writer { path: None, place }
    }

    /// Whether records are written.
    pub fn keeps(&self) -> bool {
        self.path.is_some()
    }

    /// Appends `event` and returns once it is on the disk.
    ///
    /// # Errors
    /// [`EvidenceError`] if the record cannot be written, e.g. because the disk is full.
    pub fn write(&self, event: Event) -> Result<(), EvidenceError> {
        let Some(path) = &self.path else { return Ok(()) };
        append(path, self.place, event)
            .map_err(|source| EvidenceError { path: path.clone(), source })
    }
}

fn append(path: &Path, place: Place, event: Event) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).create(true).append(true).open(path)?;
    // The chain needs the previous line, so writers take turns. Closing the file unlocks it.
    file.lock()?;
    let last = last_line(&mut file)?;
    let (seq, prev) = match &last {
        Some(line) => (sequence_of(&line.text).map_or(0, |seq| seq + 1), sha256(&line.text)),
        None => (0, sha256(b"")),
    };
    let record = Record {
        v: SCHEMA_VERSION,
        seq,
        prev,
        time_ms: unix_milliseconds(),
        place,
        pid: std::process::id(),
        event,
    };
    let mut line = Vec::new();
    if last.is_some_and(|line| !line.complete) {
        // A writer died in the middle of a line. It stays as damage, on a line of its own.
        line.push(b'\n');
    }
    serde_json::to_writer(&mut line, &record)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()
}

struct LastLine {
    text: Vec<u8>,
    complete: bool,
}

/// Reads backwards in growing steps, because a measurement's line may be long.
fn last_line(file: &mut File) -> io::Result<Option<LastLine>> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut step = 4096;
    loop {
        let from = length.saturating_sub(step);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        Read::by_ref(file).take(length - from).read_to_end(&mut tail)?;
        let complete = tail.last() == Some(&b'\n');
        if complete {
            tail.pop();
        }
        if let Some(newline) = tail.iter().rposition(|&byte| byte == b'\n') {
            return Ok(Some(LastLine { text: tail.split_off(newline + 1), complete }));
        }
        if from == 0 {
            return Ok((length > 0).then_some(LastLine { text: tail, complete }));
        }
        step *= 8;
    }
}

fn sequence_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(line).ok()?.get("seq")?.as_u64()
}

fn unix_milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
