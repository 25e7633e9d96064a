//! The directory of a run: `target/validation/<UTC time>/`, and `latest` that leads to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Stop;
use crate::exit;

/// Makes a fresh directory under `parent` and points `latest` to it.
pub(super) fn create(parent: &Path) -> Result<PathBuf, Stop> {
    let name = utc_name(SystemTime::now());
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

/// `20261122T144501Z`, after the calendar algorithm of Howard Hinnant ("chrono-Compatible
/// Low-Level Date Algorithms", days to civil).
fn utc_name(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[rstest::rstest]
    #[case(0, "19700101T000000Z")]
    #[case(951_782_399, "20000228T235959Z")]
    #[case(951_782_400, "20000229T000000Z")]
    #[case(1_795_358_701, "20261122T144501Z")]
    fn names_are_utc(#[case] seconds: u64, #[case] name: &str) {
        assert_eq!(utc_name(UNIX_EPOCH + Duration::from_secs(seconds)), name);
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
