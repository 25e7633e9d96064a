//! Writes files so that they are either complete or absent, even after a power cut.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::Builder;

/// Writes `bytes` to `path`, readable by all, through a temporary file in the same directory.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with_mode(path, bytes, 0o644)
}

/// As [`write()`], with the permissions `mode`.
pub fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = parent(path);
    let mut file = Builder::new().prefix(".new-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_directory(directory)
}

/// Makes `path` a symbolic link to `target`, replacing an earlier one. Several processes may do so at
/// once: each succeeds, and the link exists at every moment.
pub fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    let made = |beside: &Path| std::os::unix::fs::symlink(target, beside);
    Builder::new().prefix(".new-").make_in(parent(path), made)?.persist(path)?;
    Ok(())
}

/// Writes `bytes` to the new file `path`, which nobody reads yet.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()
}

/// Makes renames in `directory` durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory that `path` is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes `path`, if it is there.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::create_dir(dir.path().join("directory")).unwrap();
        write(&dir.path().join("directory"), b"three").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_that_many_make_at_once_is_made_by_each() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("latest");
        symlink(Path::new("first"), &link).unwrap();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let link = &link;
                scope.spawn(move || {
                    let target = Path::new("run").join(number.to_string());
                    for _ in 0..200 {
                        symlink(&target, link).unwrap();
                        assert_ne!(fs::read_link(link).unwrap(), Path::new("first"));
                    }
                });
            }
        });
        assert!(fs::read_link(&link).unwrap().starts_with("run"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        symlink(Path::new("second"), &link).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
