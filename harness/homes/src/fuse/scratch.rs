//! The directory for the temporary files of a process that may die with mounts in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::Failure;
use machine::temporary;

use super::connection;
use super::guardian::Watched;

/// How long to go on removing it.
const REMOVAL: Duration = Duration::from_secs(5);

/// A directory that may serve another process as `TMPDIR`. When it is dropped, what is still
/// mounted in it is detached, and then it is removed; the guardian does so if this process dies.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    _watched: Watched,
}

impl Scratch {
    /// Makes the directory.
    ///
    /// # Errors
    /// If no directory is suitable.
    pub fn new() -> Result<Scratch, Failure> {
        let directory = temporary::room()?.keep();
        // No daemon has this mount point. Those of the other process have a guardian there.
        let watched = Watched::before_start(&directory, &directory);
        Ok(Scratch { directory, _watched: watched })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        connection::detach_all(&self.directory);
        // The guardian of the other process may be removing the same files.
        let _ = wait_for("", REMOVAL, || {
            connection::remove(&self.directory);
            Ok((!self.directory.exists()).then_some(()))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_dropped_directory_is_removed() {
        let scratch = Scratch::new().unwrap();
        let directory = scratch.path().to_owned();
        fs::write(directory.join("f"), "left by a process that died").unwrap();
        drop(scratch);
        assert!(!directory.exists());
    }
}
