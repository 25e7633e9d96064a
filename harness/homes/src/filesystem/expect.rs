//! Shared checks: write something, read it back, and compare.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{fail, require, uncached};
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use rand_mt::Mt;

/// Random bytes, so that no block size can hide an error.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Mt::new(7).fill_bytes(&mut bytes);
    bytes
}

/// How many bytes the longest name in `dir` may have, by statvfs(3): at most 255, and at least the
/// 14 of POSIX.
pub(super) fn longest_name(dir: &Path) -> Result<usize, Failure> {
    let told = usize::try_from(statvfs(dir).context("statvfs")?.name_max())?;
    Ok(told.clamp(14, 255))
}

/// How many bytes are free where `dir` is.
pub(super) fn free_bytes(dir: &Path) -> Result<u64, Failure> {
    let stat = statvfs(dir).context("statvfs")?;
    Ok(stat.blocks_free().saturating_mul(stat.fragment_size()))
}

/// Checks that `file` contains exactly `expected`.
pub(super) fn same(file: &Path, expected: &[u8]) -> Result<(), Failure> {
    let read = uncached::read(file).context(format!("reading {}", file.display()))?;
    same_bytes(&read, expected)
}

/// Checks that the bytes that were `read` equal the bytes that were `written`.
pub(super) fn same_bytes(read: &[u8], written: &[u8]) -> Result<(), Failure> {
    require!(read.len() == written.len(), "{} bytes of {}", read.len(), written.len());
    if let Some(at) = read.iter().zip(written).position(|(a, b)| a != b) {
        fail!("byte {at} is {:#04x}, but {:#04x} was written", read[at], written[at]);
    }
    Ok(())
}

/// Checks that a directory has `due` links, or 1, which a file system reports if it does not count
/// links of directories.
pub(super) fn directory_has_links(path: &Path, due: u64) -> Result<(), Failure> {
    let links = fs::metadata(path)?.nlink();
    require!(
        links == due || links == 1,
        "stat of {} reports nlink {links}, expected {due} (two, and one for each subdirectory), or \
         1 if subdirectories are not counted",
        path.display()
    );
    Ok(())
}

/// Checks that a file has `due` names; `what` describes the file in its current state.
pub(super) fn has_links(stat: &fs::Metadata, due: u64, what: &str) -> Result<(), Failure> {
    let links = stat.nlink();
    require!(links == due, "stat of {what} reports nlink {links}, expected {due}");
    Ok(())
}

/// Checks that `result` is the error `errno`.
pub fn expect_errno<T, E: Into<io::Error>>(
    result: Result<T, E>,
    errno: i32,
    what: &str,
) -> Result<(), Failure> {
    let due = Errno::from_raw(errno);
    match result.map_err(Into::into) {
        Ok(_) => fail!("{what}: it succeeded, expected {due}"),
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => {
            let got = error.raw_os_error().map(Errno::from_raw);
            Err(Failure::new(format!("{what}: {error}, expected {due}")).with_errno(got))
        }
    }
}

/// Checks that `result` is refused because a directory is not empty, for which POSIX allows two
/// errors.
pub(super) fn expect_not_empty(result: io::Result<()>, what: &str) -> Result<(), Failure> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => expect_errno(other, libc::ENOTEMPTY, what),
    }
}
