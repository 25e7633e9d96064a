//! Where temporary files go, independent of the user's shell set-up.
//!
//! Trials mount in temporary directories, run programs there and let other users in, and the path
//! of a guest's socket has at most 107 bytes. With a `TMPDIR` that is relative, long, private or
//! mounted noexec, or a umask that excludes others, they would fail as if VexFS were at fault.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::{Mode, umask};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::failure::Failure;

/// The longest path that leaves room for the launcher's socket names.
const LONGEST: usize = 30;

/// Where temporary files go if `TMPDIR` cannot be used.
const OTHERS: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Gives this process and its children a umask that lets others read, and a directory for temporary
/// files that is suitable. If `TMPDIR` is not, the program starts itself again with another
/// `TMPDIR`.
///
/// # Errors
/// If no directory is suitable, and why.
pub fn prepare() -> Result<(), Failure> {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let named = std::env::temp_dir();
    let chosen = choose(&named, &OTHERS.map(PathBuf::from))?;
    if chosen == named {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let mut words = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = words.next() {
        again.arg0(name);
    }
    Err(again.args(words).env("TMPDIR", chosen).exec().into())
}

/// Makes a suitable directory for a test, whatever `TMPDIR` and the umask are. Tests run programs
/// there, let other users in and have sockets below it.
///
/// # Errors
/// If no directory is suitable, and why.
pub fn room() -> Result<tempfile::TempDir, Failure> {
    let parent = choose(&std::env::temp_dir(), &OTHERS.map(PathBuf::from))?;
    // The path must be short enough to serve as TMPDIR itself.
    let parent = if parent.as_os_str().len() + ROOM > LONGEST { "/tmp".into() } else { parent };
    let room = tempfile::Builder::new().prefix("v").rand_bytes(8).tempdir_in(parent)?;
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755))?;
    Ok(room)
}

/// Bytes of the directory's name and the slash before it.
const ROOM: usize = 10;

/// `named` if it is suitable, or else the first of `others` that is.
fn choose(named: &Path, others: &[PathBuf]) -> Result<PathBuf, Failure> {
    let Err(wrong) = serves(named) else { return Ok(named.to_owned()) };
    let other = others.iter().find(|other| serves(other).is_ok());
    other.cloned().ok_or_else(|| {
        Failure::new(format!(
            "there is no directory for temporary files: {} {wrong}, and none of {OTHERS:?} can be \
             used; name another directory in TMPDIR",
            named.display()
        ))
    })
}

/// Checks that trials can work in directories below `directory`; otherwise returns what is wrong
/// with it.
fn serves(directory: &Path) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    if !directory.is_absolute() {
        return Err("is relative, but programs run in other directories".to_owned());
    }
    if directory.as_os_str().len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes, too long for a socket beneath it"));
    }
    let real = directory.canonicalize().map_err(told)?;
    for part in real.ancestors() {
        if fs::metadata(part).map_err(told)?.permissions().mode() & 0o001 == 0 {
            return Err(format!("is not open to other users ({})", part.display()));
        }
    }
    tempfile::tempdir_in(&real).map_err(told)?;
    let mounted = statvfs(&real).map_err(|errno| told(errno.into()))?;
    if mounted.flags().contains(FsFlags::ST_NOEXEC) {
        return Err("is mounted noexec".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unusable_directory_has_its_reason() {
        let room = room().unwrap();
        let open = fs::Permissions::from_mode(0o755);
        assert_eq!(serves(room.path()), Ok(()));
        let inner = room.path().join("in");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, open).unwrap();
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let long = room.path().join("l".repeat(LONGEST));
        for (directory, says) in [
            (Path::new("tmp"), "is relative"),
            (&long, "is longer than 30 bytes"),
            (&inner, "is not open to other users"),
            (Path::new("/nonexistent"), "No such file"),
            (Path::new("/proc"), ""),
        ] {
            let wrong = serves(directory).unwrap_err();
            assert!(wrong.contains(says), "{}: {wrong}", directory.display());
        }
    }

    #[test]
    fn a_new_room_is_usable() {
        let room = room().unwrap();
        assert_eq!(serves(room.path()), Ok(()));
    }

    #[test]
    fn another_directory_is_chosen_only_if_the_named_one_is_unusable() {
        let others = [PathBuf::from("/nonexistent"), PathBuf::from("/tmp")];
        assert_eq!(choose(Path::new("/tmp"), &[]).unwrap(), Path::new("/tmp"));
        assert_eq!(choose(Path::new("relative"), &others).unwrap(), Path::new("/tmp"));
        let said = choose(Path::new("relative"), &others[..1]).unwrap_err().to_string();
        assert!(said.contains("relative is relative, but") && said.contains("TMPDIR"), "{said}");
    }
}
