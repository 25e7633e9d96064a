//! Mount points: what is mounted there, and how it is taken down.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::deadline::wait_for;
use crate::failure::{Failure, While};

/// A child that another thread is just starting holds our descriptors, and so the mount, from
/// its fork to its exec; that passes. A descriptor that somebody keeps does not.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// Whether another file system begins at `path`. A dead daemon's mount answers ENOTCONN and is a
/// mount all the same.
///
/// # Errors
/// Where the path or its parent cannot be looked at.
pub fn is_mounted(path: &Path) -> Result<bool, Failure> {
    let Some(parent) = path.parent() else { crate::fail!("{} has no parent", path.display()) };
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.dev() != fs::metadata(parent)?.dev()),
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).when(path.display()),
    }
}

/// umount2(2), without force.
///
/// # Errors
/// Its errno; EBUSY only if it lasts.
pub fn unmount(path: &Path) -> Result<(), Failure> {
    let what = format!("unmounting {} (it is busy)", path.display());
    wait_for(what, BUSY_LIMIT, || match umount2(path, MntFlags::empty()) {
        Ok(()) => Ok(Some(())),
        Err(Errno::EBUSY) => Ok(None),
        Err(errno) => Err(Failure::from(errno)).when(format!("unmounting {}", path.display())),
    })
}

/// umount2(2) of whatever is in use: requests that are being served are ended where the file
/// system can end them, and the mount is detached.
///
/// # Errors
/// Its errno.
pub fn unmount_by_force(path: &Path) -> Result<(), Failure> {
    umount2(path, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH)
        .when(format!("unmounting {} by force", path.display()))
}
