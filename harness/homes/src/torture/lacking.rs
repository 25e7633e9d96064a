//! What the tests of others need and a file system that is not the reference may lack. They then do
//! everything else, because the table of operations tells of what is lacking.

use std::fs::{self, OpenOptions};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// A use of fallocate(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// Allocates.
    Plain,
    /// FALLOC_FL_PUNCH_HOLE.
    PunchHole,
}

impl Allocation {
    fn flags(self) -> FallocateFlags {
        match self {
            Allocation::Plain => FallocateFlags::empty(),
            Allocation::PunchHole => {
                FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE
            }
        }
    }
}

/// Whether the file system of `directory` does not know `allocation`, and the errno with which it
/// says so. Any other error is a fault, which the test itself will find.
///
/// # Errors
/// No file can be made in `directory`, or written, or removed.
pub fn lacks(directory: &Path, allocation: Allocation) -> Result<Option<Errno>, Failure> {
    const LENGTH: i64 = 8192;
    let path = directory.join("allocated");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let file = file.context(path.display())?;
    file.set_len(LENGTH as u64).context(path.display())?;
    let outcome = fallocate(&file, allocation.flags(), 0, LENGTH);
    drop(file);
    fs::remove_file(&path).context(path.display())?;
    Ok(outcome.err().filter(|errno| matches!(errno, Errno::EOPNOTSUPP | Errno::ENOSYS)))
}
