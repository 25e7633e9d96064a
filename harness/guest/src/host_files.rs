//! Notices when the host's files change under a running guest. The guest's root is a view of these
//! files, so a file that the host replaces may be stale (ESTALE) for any program in the guest. The
//! host is then to blame, and the change is recorded.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories of programs, libraries and their configuration; subdirectories are not watched.
const WATCHED: [&str; 8] = [
    "/etc",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/sbin",
    "/usr/share",
];

/// The largest number of changes that is reported.
const TOLD: usize = 20;

/// The state of the files when a guest was started.
pub(super) struct HostFiles {
    directories: Vec<PathBuf>,
    files: BTreeMap<PathBuf, FileState>,
}

/// Distinguishes a file from another one in its place, and unchanged content from changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileState {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl HostFiles {
    /// The current state of the files.
    pub(super) fn now() -> HostFiles {
        HostFiles::in_directories(WATCHED.map(PathBuf::from).to_vec())
    }

    fn in_directories(directories: Vec<PathBuf>) -> HostFiles {
        let files = directories.iter().flat_map(|directory| look_at(directory)).collect();
        HostFiles { directories, files }
    }

    /// The names of files that have been made, removed, replaced or written to since.
    pub(super) fn changes(self) -> Vec<String> {
        let HostFiles { directories, files } = self;
        let now = HostFiles::in_directories(directories).files;
        let names: std::collections::BTreeSet<&PathBuf> = files.keys().chain(now.keys()).collect();
        let changed = names.into_iter().filter(|&name| files.get(name) != now.get(name));
        changed.take(TOLD).map(|name| name.display().to_string()).collect()
    }
}

/// The files in `directory`; a file that cannot be examined is left out.
fn look_at(directory: &Path) -> Vec<(PathBuf, FileState)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let state = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok().filter(|metadata| !metadata.is_dir())?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let state = FileState { inode: metadata.ino(), size: metadata.size(), changed };
        Some((entry.path(), state))
    };
    entries.filter_map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_named() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        for name in ["kept", "passwd", "removed"] {
            fs::write(at(name), name).unwrap();
        }
        let look =
            || HostFiles::in_directories(vec![room.path().to_owned(), "/nonexistent".into()]);
        assert_eq!(look().changes(), Vec::<String>::new());
        let before = look();
        // As adduser(8) does it: a new file of the same size takes the name.
        fs::write(at("passwd+"), "passwd").unwrap();
        fs::rename(at("passwd+"), at("passwd")).unwrap();
        fs::remove_file(at("removed")).unwrap();
        fs::write(at("new"), "").unwrap();
        let due = ["new", "passwd", "removed"].map(|name| at(name).display().to_string());
        assert_eq!(before.changes(), due);
        assert!(!HostFiles::now().files.is_empty());
    }
}
