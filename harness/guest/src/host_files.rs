//! Notices when the host's files change under a running guest. The guest's root is a view of these
//! files, so a file that the host replaces may be stale (ESTALE) for any program in the guest. The
//! host is then to blame, and the change is recorded.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use machine::project;

/// Directories of programs, libraries and their configuration, with all that is below them.
const OF_THE_HOST: [&str; 8] = [
    "/etc",
    "/usr/bin",
    "/usr/lib",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/sbin",
    "/usr/share",
];

/// Directories of what cargo has built: the programs, and the tests that the guest runs. Below them
/// lies what only cargo reads.
const BUILT: [&str; 6] =
    ["debug", "debug/deps", "debug/examples", "release", "release/deps", "release/examples"];

/// What `make setup` has installed, with all that is below it.
const INSTALLED: [&str; 2] = ["venv", "tools"];

/// Directories of files that no trial reads; Python writes its own whenever it likes.
const LEFT_OUT: [&str; 5] =
    ["/usr/share/doc", "/usr/share/locale", "/usr/share/man", "/usr/share/info", "__pycache__"];

/// The largest number of changes that is reported: an upgrade of the host changes thousands.
const TOLD: usize = 1_000;

/// A directory whose files are watched.
#[derive(Clone)]
struct Watched {
    directory: PathBuf,
    /// Whether its subdirectories are watched, too.
    deep: bool,
}

/// The state of the files when a guest was started.
pub(super) struct HostFiles {
    watched: Vec<Watched>,
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
        HostFiles::of(watched(project::built(), &project::cache()))
    }

    fn of(watched: Vec<Watched>) -> HostFiles {
        let mut files = BTreeMap::new();
        for Watched { directory, deep } in &watched {
            look_at(directory, *deep, &mut files);
        }
        HostFiles { watched, files }
    }

    /// The names of files that have been made, removed, replaced or written to since.
    pub(super) fn changes(self) -> Vec<String> {
        let HostFiles { watched, files } = self;
        let now = HostFiles::of(watched).files;
        let names: std::collections::BTreeSet<&PathBuf> = files.keys().chain(now.keys()).collect();
        let changed = names.into_iter().filter(|&name| files.get(name) != now.get(name));
        changed.take(TOLD).map(|name| name.display().to_string()).collect()
    }
}

/// Everything that is watched, where cargo builds into `built` and `make setup` installs into
/// `cache`.
fn watched(built: &Path, cache: &Path) -> Vec<Watched> {
    let deep = |directory: PathBuf| Watched { directory, deep: true };
    let of_the_host = OF_THE_HOST.iter().map(|name| deep(name.into()));
    let installed = INSTALLED.iter().map(|name| deep(cache.join(name)));
    let built = BUILT.iter().map(|name| Watched { directory: built.join(name), deep: false });
    of_the_host.chain(installed).chain(built).collect()
}

/// Adds the files in `directory` to `files`. Leaves out what cannot be examined, and follows no
/// symbolic link.
fn look_at(directory: &Path, deep: bool, files: &mut BTreeMap<PathBuf, FileState>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_dir() {
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            let state = FileState { inode: metadata.ino(), size: metadata.size(), changed };
            files.insert(path, state);
        } else if deep && !LEFT_OUT.iter().any(|name| path.ends_with(name)) {
            look_at(&path, deep, files);
        }
    }
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
        let look = || {
            let directories = [room.path().to_owned(), "/nonexistent".into()];
            HostFiles::of(directories.map(|directory| Watched { directory, deep: true }).to_vec())
        };
        assert_eq!(look().changes(), Vec::<String>::new());
        let before = look();
        // As adduser(8) does it: a new file of the same size takes the name.
        fs::write(at("passwd+"), "passwd").unwrap();
        fs::rename(at("passwd+"), at("passwd")).unwrap();
        fs::remove_file(at("removed")).unwrap();
        fs::write(at("new"), "").unwrap();
        let due = ["new", "passwd", "removed"].map(|name| at(name).display().to_string());
        assert_eq!(before.changes(), due);
    }

    /// A library of Python's, a program that cargo built and a test of the guest's.
    #[test]
    fn what_lies_deeper_and_what_the_checkout_has_is_watched() {
        let room = tempfile::tempdir().unwrap();
        let (built, cache) = (room.path().join("target"), room.path().join(".cache"));
        let seen = [
            built.join("release/vexfs_fuse"),
            built.join("debug/deps/fuse-0123"),
            cache.join("venv/lib/python3/site-packages/numpy/core.so"),
        ];
        let unseen = [
            built.join("release/build/x/output"),
            built.join("validation/host.jsonl"),
            cache.join("venv/lib/python3/__pycache__/x.pyc"),
        ];
        for file in seen.iter().chain(&unseen) {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "before").unwrap();
        }
        // The test changes nothing of the host's, and need not read all of it.
        let of_the_checkout = |all: Vec<Watched>| -> Vec<Watched> {
            all.into_iter().filter(|one| one.directory.starts_with(room.path())).collect()
        };
        let before = HostFiles::of(of_the_checkout(watched(&built, &cache)));
        for file in seen.iter().chain(&unseen) {
            fs::write(file, "after that").unwrap();
        }
        let mut due = seen.map(|file| file.display().to_string());
        due.sort();
        assert_eq!(before.changes(), due);
    }

    #[test]
    fn the_hosts_own_directories_are_read_to_their_end() {
        let files = HostFiles::now().files;
        let of = |name: &str| files.keys().any(|path| path.starts_with(name));
        assert!(of("/etc") && of("/usr/lib/x86_64-linux-gnu"), "{} files", files.len());
        assert!(!of("/usr/share/doc"), "manuals are no programs");
    }
}
