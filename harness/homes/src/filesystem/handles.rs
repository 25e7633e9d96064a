//! File handles, which identify a file without a path, as NFS servers use them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use nix::mount::{MsFlags, mount};

use super::asked::HANDLES;
use super::contract::{self, ByContract};
use super::expect::expect_errno;
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![file_handles_hold.as_root()];

/// The longest possible handle, MAX_HANDLE_SZ.
const LONGEST: usize = 128;

/// A file handle: `struct file_handle` and its bytes.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; LONGEST],
}

impl Handle {
    /// Calls name_to_handle_at(2).
    fn of(path: &Path) -> io::Result<Handle> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut handle = Handle { bytes: LONGEST as u32, kind: 0, handle: [0; LONGEST] };
        let (at, mut mount) = ((&raw mut handle).cast(), 0);
        // SAFETY: the path ends with a zero byte, and the handle has room for as many bytes as it
        // says.
        match unsafe { libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), at, &mut mount, 0) } {
            0 => Ok(handle),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Calls open_by_handle_at(2), for reading, on the file system of `mount`.
    fn open(&mut self, mount: &File) -> io::Result<File> {
        let (at, flags) = ((&raw mut *self).cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        // SAFETY: the handle is as long as it says.
        match unsafe { libc::open_by_handle_at(mount.as_raw_fd(), at, flags) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the descriptor is new, and nobody else owns it.
            descriptor => Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) })),
        }
    }
}

/// A handle still identifies its file after a rename and after the kernel has dropped the inode
/// from its cache, and identifies nothing after the file has been removed.
fn file_handles_hold(dir: &Path) -> Result<(), Failure> {
    let mounted = dir.parent().unwrap_or(dir);
    let (sub, file, renamed) = (dir.join("sub"), dir.join("sub/file"), dir.join("renamed"));
    fs::create_dir(&sub)?;
    fs::write(&file, "content")?;
    let of = |path: &Path, what: &str| {
        Handle::of(path).context(format!("name_to_handle_at of {what}")).by_contract(HANDLES)
    };
    let mut to_file = of(&file, "a file")?;
    let mut to_sub = of(&sub, "a directory")?;
    let number = fs::metadata(&file)?.ino();
    fs::rename(&file, &renamed)?;
    let open = File::open(mounted)?;
    for when in ["at once", "when its inode was let go"] {
        let mut read = String::new();
        let reopened = to_file.open(&open).context(format!("a file by its handle, {when}"));
        let mut reopened = reopened.map_err(contract::handle)?;
        reopened.read_to_string(&mut read)?;
        require!(read == "content", "a file reads {read:?} by its handle, {when}");
        require!(reopened.metadata()?.ino() == number, "the handle is another file's, {when}");
        let reopened = to_sub.open(&open).context(format!("a directory by its handle, {when}"));
        let reopened = reopened.map_err(contract::handle)?;
        require!(reopened.metadata()?.ino() == fs::metadata(&sub)?.ino(), "another directory");
        drop(reopened);
        // A remount makes the kernel drop its cached names, and the inodes that nothing else holds.
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let remounted = mount(None::<&str>, mounted, None::<&str>, flags, None::<&str>);
        remounted.context("remount").by_contract(HANDLES)?;
    }
    fs::write(sub.join("other"), "other")?;
    let mut to_other = Handle::of(&sub.join("other"))?;
    for (path, handle) in [(&renamed, &mut to_file), (&sub.join("other"), &mut to_other)] {
        fs::remove_file(path)?;
        expect_errno(handle.open(&open), libc::ESTALE, "a removed file by its handle")?;
    }
    fs::remove_dir(&sub)?;
    expect_errno(to_sub.open(&open), libc::ESTALE, "a removed directory by its handle")
}
