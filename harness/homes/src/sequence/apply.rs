//! Carries out a change on a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use machine::failure::{Failure, WithContext};
use rustix::fs::{FallocateFlags, fallocate};

use super::change::{Change, Way};
use crate::filesystem::mapped::Mapping;

/// Carries out `change`; returns `Ok(false)` if the file system refuses a row that is not finite.
pub fn apply(file: &File, change: &Change) -> Result<bool, Failure> {
    let done = match change {
        Change::SetLen(length) => file.set_len(*length as u64),
        Change::Punch { at, length } => {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(file, how, *at as u64, *length as u64).map_err(io::Error::from)
        }
        Change::Write { at, bytes, way: Way::Whole } => file.write_all_at(bytes, *at as u64),
        Change::Write { at, bytes, way: Way::Pieces(size) } => {
            let mut pieces = bytes.chunks(*size).enumerate();
            pieces.try_for_each(|(n, piece)| file.write_all_at(piece, (at + n * size) as u64))
        }
        Change::Write { at, bytes, way: Way::Mapped } => {
            let mapping = Mapping::shared(file, at + bytes.len()).context(change)?;
            mapping.store(*at, bytes);
            mapping.sync()
        }
    };
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error).context(change),
    }
}
