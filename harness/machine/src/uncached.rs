//! Reading what a file system holds, not what the kernel remembers of it.
//!
//! Pages that were written stay in the page cache, and a later read is answered from there: a FUSE
//! daemon that has lost or spoilt them would not be asked.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Opens the file for reading, with none of its clean pages cached (posix_fadvise(2)).
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let file = File::open(path)?;
    // Pages that are not written back yet stay: they are the file system's only copy.
    file.sync_data()?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(file)
}

/// All of a file.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}
