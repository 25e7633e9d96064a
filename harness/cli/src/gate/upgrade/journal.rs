//! What became of the last upgrade of each kernel, for `gate status`:
//! `var/lib/vexfs-gate/RELEASE/upgrade.json`, and the evidence beside it.

use std::fmt::{self, Write as _};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::exit;
use evidence::utc::Utc;
use machine::atomic;
use machine::file_lock::{FileLock, Sharing};
use machine::interrupt::interrupted;
use serde::{Deserialize, Serialize};
use tempfile::Builder;

use super::Stage;
use crate::stop::Stop;

const HOME: &str = "var/lib/vexfs-gate";
const RECORD: &str = "upgrade.json";
/// The file that is there from when an upgrade is asked for until it has ended. A record cannot tell
/// of an upgrade that waits for its turn.
const PENDING: &str = "pending";
/// How long another kernel's upgrade may take: apt may install several kernels at once.
const OTHERS_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// The last upgrade of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// When it began, Unix time in milliseconds.
    began_ms: u64,
    /// The name of the evidence's directory beside the record.
    evidence: String,
    #[serde(flatten)]
    outcome: Outcome,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It has not ended, or was killed.
    Began,
    /// The module passed and was installed.
    Installed { ended_ms: u64 },
    /// The gate stayed as it was.
    Refused { ended_ms: u64, stage: Stage, why: String },
}

/// The journal of one kernel, which no other process writes meanwhile.
pub(super) struct Journal {
    dir: PathBuf,
    _lock: FileLock,
}

/// Notes that an upgrade of `release` is to be done, before it waits for anything.
pub(super) fn announce(root: &Path, release: &str) -> Result<(), Stop> {
    let dir = root.join(HOME).join(release);
    let pending = dir.join(PENDING);
    let noted = || {
        fs::create_dir_all(&dir)?;
        atomic::write(&pending, b"")
    };
    noted().map_err(|error| unwritable(&pending, error))
}

impl Journal {
    /// Waits until no other upgrade runs: two guests at once would be slow ones.
    pub(super) fn open(root: &Path, release: &str) -> Result<Journal, Stop> {
        let home = root.join(HOME);
        let dir = home.join(release);
        fs::create_dir_all(&dir).map_err(|error| unwritable(&dir, error))?;
        let file = File::open(&home).map_err(|error| unwritable(&home, error))?;
        let what = "another kernel's upgrade";
        let lock = FileLock::wait(file, Sharing::Alone, what, OTHERS_LIMIT, interrupted)
            .map_err(|failure| Stop::new(exit::SETUP, failure))?;
        Ok(Journal { dir, _lock: lock })
    }

    /// Writes that an upgrade begins, and makes the directory of its evidence. The evidence of the
    /// last installation stays: its attestation names it. Other evidence is removed.
    pub(super) fn begin(&self, began_ms: u64) -> Result<PathBuf, Stop> {
        let prepared = || {
            if let Ok(last) = read(&self.dir)
                && !matches!(last.outcome, Outcome::Installed { .. })
                && let Some(name) = Path::new(&last.evidence).file_name()
            {
                match fs::remove_dir_all(self.dir.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            let prefix = format!("run-{}-", Utc::of_milliseconds(began_ms).compact());
            let open_to_all = Permissions::from_mode(0o755);
            let mut made = Builder::new();
            let made = made.prefix(&prefix).permissions(open_to_all).tempdir_in(&self.dir)?.keep();
            let evidence = made.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.write(&Record { began_ms, evidence, outcome: Outcome::Began })?;
            fs::canonicalize(made)
        };
        prepared().map_err(|error| unwritable(&self.dir, error))
    }

    /// Writes how it ended.
    pub(super) fn end(&self, outcome: Outcome) -> Result<(), Stop> {
        let written = || {
            self.write(&Record { outcome, ..read(&self.dir)? })?;
            atomic::remove_if_there(&self.dir.join(PENDING))
        };
        written().map_err(|error| unwritable(&self.dir.join(RECORD), error))
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let text = serde_json::to_string_pretty(record)? + "\n";
        atomic::write(&self.dir.join(RECORD), text.as_bytes())
    }
}

fn unwritable(path: &Path, error: io::Error) -> Stop {
    let message = format!(
        "{}: {error}; run it as root, or with --root and a directory that can be written",
        path.display()
    );
    Stop::new(exit::EVIDENCE, message)
}

fn read(dir: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&fs::read(dir.join(RECORD))?)?)
}

/// What became of the last upgrade of `release`, in lines for a person; `None` if there was none.
pub(in crate::gate) fn last_upgrade(root: &Path, release: &str) -> Option<String> {
    let dir = root.join(HOME).join(release);
    match read(&dir) {
        Ok(record) if has_not_ended(root, release) && record.outcome != Outcome::Began => {
            Some(format!("{}\n{}", waiting(release), record.in_words(&dir, release)))
        }
        Ok(record) => Some(record.in_words(&dir, release)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            has_not_ended(root, release).then(|| waiting(release))
        }
        Err(error) => Some(format!("{}: {error}", dir.join(RECORD).display())),
    }
    .map(|text| text.replace('\n', INDENTED))
}

/// Between the lines of what is told of an upgrade.
const INDENTED: &str = "\n               ";

fn again(release: &str) -> String {
    format!("vexfs-validate gate upgrade --kernel {release}")
}

fn waiting(release: &str) -> String {
    format!("waits for its turn, or was cut off; if no upgrade runs any more: {}", again(release))
}

/// Whether an upgrade of `release` was asked for and has not ended.
pub(super) fn has_not_ended(root: &Path, release: &str) -> bool {
    root.join(HOME).join(release).join(PENDING).exists()
}

impl Record {
    fn in_words(&self, dir: &Path, release: &str) -> String {
        let again = again(release);
        let mut text = match &self.outcome {
            Outcome::Began => format!(
                "began {}, and has not ended; if no upgrade runs any more: {again}",
                Utc::of_milliseconds(self.began_ms)
            ),
            Outcome::Installed { ended_ms } => {
                format!("validated and installed {}", Utc::of_milliseconds(*ended_ms))
            }
            Outcome::Refused { ended_ms, stage, why } => {
                format!("refused {}: {stage}: {why}", Utc::of_milliseconds(*ended_ms))
            }
        };
        if matches!(self.outcome, Outcome::Refused { .. }) {
            let _ = write!(text, "\ntry it once more with: {again}");
        }
        let _ = write!(text, "\nall of it: {}", dir.join(&self.evidence).display());
        text
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("dir", &self.dir).finish_non_exhaustive()
    }
}
