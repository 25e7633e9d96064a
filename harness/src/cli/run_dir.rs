//! The directory of a run: `target/validation/<UTC time>/`, and `latest` that leads to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Stop;
use crate::exit;
use crate::utc::Utc;

/// Makes a fresh directory under `parent` and points `latest` to it.
pub(super) fn create(parent: &Path) -> Result<PathBuf, Stop> {
    let name = Utc::of(SystemTime::now()).compact();
    let attempt = || {
        fs::create_dir_all(parent)?;
        // Two runs in one second must not share evidence: the pid tells them apart.
        let dir = parent.join(&name);
        let dir = match fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let dir = parent.join(format!("{name}-{}", std::process::id()));
                fs::create_dir(&dir)?;
                dir
            }
            made => made.map(|()| dir)?,
        };
        let latest = parent.join("latest");
        if fs::symlink_metadata(&latest).is_ok() {
            fs::remove_file(&latest)?;
        }
        std::os::unix::fs::symlink(dir.file_name().unwrap_or_default(), &latest)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
