//! Notices when a daemon mounts at a place other than it was told, reports it, and removes that
//! mount with the daemon.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use machine::mount::{Entry, entries};
use nix::errno::Errno;
use nix::sys::statfs::statfs;

use super::connection::detach;
use super::readiness::answered;

/// The FUSE mounts that existed before a daemon was started.
#[derive(Debug)]
pub(super) struct MountsBefore(BTreeSet<(Vec<u8>, Vec<u8>)>);

impl MountsBefore {
    /// The FUSE mounts that exist now.
    pub(super) fn now() -> MountsBefore {
        MountsBefore(of_fuse().map(key).collect())
    }

    /// The mounts that have come since, except those in our own temporary directories, which belong
    /// to other trials.
    pub(super) fn since(&self) -> Vec<PathBuf> {
        let came = of_fuse().filter(|one| !self.0.contains(&key(one.clone())));
        let at = came.map(|one| PathBuf::from(OsStr::from_bytes(&one.at)));
        at.filter(|at| !is_ours(at)).collect()
    }

    /// Takes down those mounts that nobody serves after the daemon has ended. Mounts that somebody
    /// else has made meanwhile are served, and stay.
    pub(super) fn take_down(&self) {
        for at in self.since() {
            // If nobody serves the mount, the kernel itself answers with ENOTCONN.
            let refused = answered(&at, "statfs(2)", |at| statfs(at).err());
            if refused.is_ok_and(|errno| errno == Some(Errno::ENOTCONN)) {
                detach(&at);
            }
        }
    }
}

fn key(one: Entry) -> (Vec<u8>, Vec<u8>) {
    (one.device, one.at)
}

fn of_fuse() -> impl Iterator<Item = Entry> {
    let all = entries().unwrap_or_default().into_iter();
    all.filter(|one| one.kind == b"fuse" || one.kind.starts_with(b"fuse."))
}

fn is_ours(at: &Path) -> bool {
    at.components().any(|part| match part {
        Component::Normal(name) => name.as_bytes().starts_with(b"vexfs-"),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_in_our_own_directories_are_recognised() {
        assert!(is_ours(Path::new("/tmp/vexfs-fuse-Ab12/mnt")));
        assert!(!is_ours(Path::new("/home/me/my-vexfs/mnt")));
    }
}
