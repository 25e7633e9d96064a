//! The operations that both homes are tried with, as a table.

use std::fs;
use std::path::Path;

use super::{allocation, attributes, data, names, vectors};
use crate::failure::{Failure, While};
use crate::require;

/// Something that a file system does, tried in a directory of its own on the mount.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The trial's name without its criterion.
    pub name: &'static str,
    /// Tries it in the directory given, which is empty.
    pub check: fn(&Path) -> Result<(), Failure>,
}

/// All of them.
#[must_use]
pub fn operations() -> Vec<Operation> {
    [
        data::OPERATIONS,
        allocation::OPERATIONS,
        names::OPERATIONS,
        attributes::OPERATIONS,
        vectors::OPERATIONS,
    ]
    .concat()
}

impl Operation {
    /// Tries it on the file system mounted at `mount`, and sees to it that nothing stays there.
    ///
    /// # Errors
    /// What the operation found, or a directory that cannot be made or removed.
    pub fn run(&self, mount: &Path) -> Result<(), Failure> {
        let directory = mount.join(self.name);
        fs::create_dir(&directory).when(format!("mkdir {}", self.name))?;
        (self.check)(&directory).when(self.name)?;
        fs::remove_dir_all(&directory).when(format!("removing {}", self.name))?;
        require!(!directory.exists(), "{} is still there after its removal", self.name);
        Ok(())
    }
}

/// Tries all of them, one after the other; the outcome of each by name.
#[must_use]
pub fn run_all(mount: &Path) -> Vec<(&'static str, Result<(), String>)> {
    operations()
        .iter()
        .map(|one| (one.name, one.run(mount).map_err(|failure| failure.to_string())))
        .collect()
}
