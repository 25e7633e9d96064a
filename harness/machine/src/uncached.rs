//! Reads that bypass the page cache.
//!
//! Written pages stay in the page cache, which answers later reads. A FUSE daemon that lost or
//! corrupted the data would never be asked for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Opens the file for reading and drops its clean pages from the cache (posix_fadvise(2)).
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let file = File::open(path)?;
    // Dirty pages stay: they are the only copy.
    file.sync_data()?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(file)
}

/// Reads a whole file.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}
