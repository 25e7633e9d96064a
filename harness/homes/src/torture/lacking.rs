//! What a test of others needs and a file system that is not the reference may lack. The test then
//! does everything else, because the table of operations tells of what is lacking.

use std::fs::{self, OpenOptions};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// Whether the file system of `directory` does not know FALLOC_FL_PUNCH_HOLE, and the errno with
/// which it says so. Any other error is a fault, which the test itself will find.
///
/// # Errors
/// No file can be made in `directory`, or written, or removed.
pub fn punches_no_holes(directory: &Path) -> Result<Option<Errno>, Failure> {
    const LENGTH: i64 = 8192;
    let path = directory.join("punched");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let file = file.context(path.display())?;
    file.set_len(LENGTH as u64).context(path.display())?;
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let outcome = fallocate(&file, hole, 0, LENGTH);
    drop(file);
    fs::remove_file(&path).context(path.display())?;
    Ok(outcome.err().filter(|errno| matches!(errno, Errno::EOPNOTSUPP | Errno::ENOSYS)))
}
