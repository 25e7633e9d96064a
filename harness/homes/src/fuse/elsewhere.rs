//! A daemon that mounts somewhere else than it was told: that is said, and its mount goes with it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use machine::mount::{Entry, entries};
use nix::errno::Errno;
use nix::sys::statfs::statfs;

use super::connection::detach;
use super::readiness::answered;

/// Mounts of FUSE that were there before a daemon was started.
#[derive(Debug)]
pub(super) struct MountsBefore(BTreeSet<(Vec<u8>, Vec<u8>)>);

impl MountsBefore {
    /// By now.
    pub(super) fn now() -> MountsBefore {
        MountsBefore(of_fuse().map(key).collect())
    }

    /// Those that have come since, but for those in our own temporary directories, which are some
    /// other trial's.
    pub(super) fn since(&self) -> Vec<PathBuf> {
        let came = of_fuse().filter(|one| !self.0.contains(&key(one.clone())));
        let at = came.map(|one| PathBuf::from(OsStr::from_bytes(&one.at)));
        at.filter(|at| !is_ours(at)).collect()
    }

    /// Takes down those of them that nobody serves, once the daemon is gone. What somebody else has
    /// mounted meanwhile is served, and stays.
    pub(super) fn take_down(&self) {
        for at in self.since() {
            // The kernel says so by itself, where nobody serves.
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
    fn our_own_directories_are_other_trials() {
        assert!(is_ours(Path::new("/tmp/vexfs-fuse-Ab12/mnt")));
        assert!(!is_ours(Path::new("/home/me/my-vexfs/mnt")));
    }
}
