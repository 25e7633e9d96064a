//! The directory of a run, `target/validation/<UTC time>/`, and the symlink `latest` to the newest
//! one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use evidence::exit;
use evidence::place::Place;
use evidence::utc::Utc;
use evidence::{Event, Record, Writer};

use super::stop::Stop;

/// Makes a fresh directory under `parent` and points `latest` to it.
pub(super) fn create(parent: &Path) -> Result<PathBuf, Stop> {
    let name = Utc::of(SystemTime::now()).compact();
    let attempt = || {
        fs::create_dir_all(parent)?;
        // Two runs in the same second must not share evidence: add the pid to the second.
        let dir = parent.join(&name);
        let dir = match fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let dir = parent.join(format!("{name}-{}", std::process::id()));
                fs::create_dir(&dir)?;
                dir
            }
            made => made.map(|()| dir)?,
        };
        let name = Path::new(dir.file_name().unwrap_or_default());
        machine::atomic::symlink(name, &parent.join("latest"))?;
        Ok::<_, std::io::Error>(dir)
    };
    attempt().map_err(|error| {
        Stop::new(
            exit::EVIDENCE,
            format!(
                "no directory for the run can be made under {}: {error}; \
                 name another with --evidence",
                parent.display()
            ),
        )
    })
}

/// Makes the directory that the user has named, if it does not exist. Returns its absolute path,
/// since other processes have other working directories.
pub(super) fn given(dir: &Path) -> Result<PathBuf, Stop> {
    fs::create_dir_all(dir).and_then(|()| fs::canonicalize(dir)).map_err(|error| {
        Stop::new(
            exit::EVIDENCE,
            format!("{}: {error}; name another directory with --evidence", dir.display()),
        )
    })
}

/// Begins the host's evidence in `dir`. Refuses results of another run there, which would pass for
/// this one's. Records of expected trials are allowed: the command that starts the run may have
/// written them.
pub(super) fn begin(dir: &Path) -> Result<Writer, Stop> {
    let no_evidence = |why: String| Stop::new(exit::EVIDENCE, why);
    for place in Place::ALL {
        let file = dir.join(evidence::files::trail(place));
        // Do not read a device, which may have no end. If it cannot be written to, the writer
        // reports that.
        if !file.is_file() {
            continue;
        }
        let used = match evidence::read_trail(dir, place) {
            Ok(None) => false,
            Ok(Some(trail)) => {
                let expected = |record: &Record| matches!(record.event, Event::Expected { .. });
                !trail.damage.is_empty() || !trail.records.iter().all(expected)
            }
            Err(error) => return Err(no_evidence(format!("{}: {error}", file.display()))),
        };
        if used {
            return Err(no_evidence(format!(
                "{} is there already: the results of another run would pass for this one's; name \
                 another directory with --evidence, or remove {}",
                file.display(),
                dir.display()
            )));
        }
    }
    Writer::open(dir, Place::Host).map_err(|error| Stop::new(exit::EVIDENCE, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_of_another_run_is_not_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let trials = vec!["fuse::mounts".to_owned()];
        let writer = begin(dir.path()).unwrap();
        writer.write(Event::Expected { at: Place::Guest, trials }).unwrap();
        let writer = begin(dir.path()).unwrap();
        writer.write(Event::PhaseStarted { phase: "1".into() }).unwrap();
        let stop = begin(dir.path()).unwrap_err();
        assert!(
            stop.exit == exit::EVIDENCE && stop.message.contains("host.jsonl is there already")
        );
        fs::remove_file(dir.path().join("host.jsonl")).unwrap();
        fs::write(dir.path().join("guest.jsonl"), "half a rec").unwrap();
        assert!(begin(dir.path()).unwrap_err().message.contains("guest.jsonl is there already"));
    }

    #[test]
    fn a_directory_that_is_given_is_absolute() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let relative = Path::new(dir.path().file_name().unwrap()).join("a/b");
        let given = given(&relative).unwrap();
        assert!(given.is_absolute() && given.is_dir() && given.ends_with(&relative));
        fs::write(dir.path().join("file"), "").unwrap();
        let stop = super::given(&dir.path().join("file/b")).unwrap_err();
        assert!(stop.exit == exit::EVIDENCE && stop.message.contains("name another directory"));
    }

    #[test]
    fn latest_leads_to_the_newest() {
        let parent = tempfile::tempdir().unwrap();
        let first = create(parent.path()).unwrap();
        let second = create(parent.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(
            fs::canonicalize(parent.path().join("latest")).unwrap(),
            fs::canonicalize(second).unwrap()
        );
    }
}
