//! Shared checks: write something, read it back, and compare.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{fail, require, uncached};
use nix::errno::Errno;
use rand_mt::Mt;

/// Bytes without a pattern that a block size could hide.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Mt::new(7).fill_bytes(&mut bytes);
    bytes
}

/// That `file` holds exactly `expected`.
pub(super) fn same(file: &Path, expected: &[u8]) -> Result<(), Failure> {
    let read = uncached::read(file).context(format!("reading {}", file.display()))?;
    same_bytes(&read, expected)
}

/// That what was `read` is what was written.
pub(super) fn same_bytes(read: &[u8], written: &[u8]) -> Result<(), Failure> {
    require!(read.len() == written.len(), "{} bytes of {}", read.len(), written.len());
    if let Some(at) = read.iter().zip(written).position(|(a, b)| a != b) {
        fail!("byte {at} is {:#04x}, written was {:#04x}", read[at], written[at]);
    }
    Ok(())
}

/// That a directory has `due` links, or 1: of a file system that does not count those of
/// directories.
pub(super) fn directory_has_links(path: &Path, due: u64) -> Result<(), Failure> {
    let links = fs::metadata(path)?.nlink();
    require!(
        links == due || links == 1,
        "stat of {} says nlink {links}; {due} is due, one for each directory in it and two, or 1 \
         where none is counted",
        path.display()
    );
    Ok(())
}

/// That a file, `what` it is now, has `due` names.
pub(super) fn has_links(stat: &fs::Metadata, due: u64, what: &str) -> Result<(), Failure> {
    let links = stat.nlink();
    require!(links == due, "stat of {what} says nlink {links}, {due} is due");
    Ok(())
}

/// That `result` is the error `errno`.
pub fn expect_errno<T, E: Into<io::Error>>(
    result: Result<T, E>,
    errno: i32,
    what: &str,
) -> Result<(), Failure> {
    let due = Errno::from_raw(errno);
    match result.map_err(Into::into) {
        Ok(_) => fail!("{what}: done, where {due} is due"),
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => {
            let got = error.raw_os_error().map(Errno::from_raw);
            Err(Failure::new(format!("{what}: {error}, where {due} is due")).with_errno(got))
        }
    }
}

/// `result` is refused because a directory is not empty: POSIX leaves it open which of two errors
/// says that.
pub(super) fn expect_not_empty(result: io::Result<()>, what: &str) -> Result<(), Failure> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => expect_errno(other, libc::ENOTEMPTY, what),
    }
}
