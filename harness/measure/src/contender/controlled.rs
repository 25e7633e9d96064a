//! Vector files with the copies of them that a measurement needs as controls.

use std::path::Path;
use std::time::Duration;

use machine::failure::Failure;
use vexfs_uapi::client::Declaration;

use super::interface::Contender;
use super::replicas::Replicas;
use super::rounds::sides::Sides;
use super::slowed::Slowed;
use super::vexfs_file::VexfsFile;
use crate::rounds::nanoseconds;

/// A side of a measurement with its controls.
pub struct Controlled<C, S> {
    /// What is measured.
    pub measured: C,
    again: C,
    slowed: S,
}

/// Empty files, to insert into.
pub type Insertable = Controlled<Replicas<VexfsFile>, Replicas<Slowed<VexfsFile>>>;
/// One file through three descriptors, to search in: an index is built once.
pub type Searchable = Controlled<VexfsFile, Slowed<VexfsFile>>;

impl Insertable {
    /// Creates the files of each side in `directory`; removed on drop.
    ///
    /// # Errors
    /// As [`VexfsFile::create`].
    pub fn create(name: &str, directory: &Path, declaration: Declaration) -> Result<Self, Failure> {
        let dim = declaration.dim as usize;
        let again = insertable(name, directory, "again", declaration)?;
        let slowed = Replicas::new(|number| {
            let path = directory.join(format!("slowed-{number}.f32"));
            Ok(Slowed::new(VexfsFile::create(name, &path, declaration)?, dim))
        })?;
        let measured = insertable(name, directory, "base", declaration)?;
        Ok(Controlled { measured, again, slowed })
    }
}

impl Insertable {
    /// Nanoseconds of each batch in each file, whose means the rounds hold: of A, of its copy and of
    /// its slowed copy.
    #[must_use]
    pub fn single_ns(&self) -> [Vec<Vec<u64>>; 3] {
        let of =
            |batches: &[Vec<Duration>]| batches.iter().map(|batch| nanoseconds(batch)).collect();
        [of(self.measured.single()), of(self.again.single()), of(self.slowed.single())]
    }
}

/// Creates the empty files of a side, called `file` and a number, in `directory`.
///
/// # Errors
/// As [`VexfsFile::create`].
pub fn insertable(
    name: &str,
    directory: &Path,
    file: &str,
    declaration: Declaration,
) -> Result<Replicas<VexfsFile>, Failure> {
    Replicas::new(|number| {
        VexfsFile::create(name, &directory.join(format!("{file}-{number}.f32")), declaration)
    })
}

impl Searchable {
    /// Searches in `file`, which holds its rows already.
    ///
    /// # Errors
    /// As [`VexfsFile::reopen`].
    pub fn of(file: VexfsFile) -> Result<Self, Failure> {
        let dim = file.dim();
        let slowed = Slowed::new(file.reopen()?, dim);
        Ok(Controlled { again: file.reopen()?, measured: file, slowed })
    }
}

impl<C: Contender, S: Contender> Controlled<C, S> {
    /// The sides of a measurement against `b`.
    pub fn against<'a>(&'a mut self, b: &'a mut dyn Contender) -> Sides<'a> {
        Sides { a: &mut self.measured, b, again: &mut self.again, slowed: &mut self.slowed }
    }
}
