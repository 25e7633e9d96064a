//! A vector file with the two copies of it that a measurement needs as controls.

use std::path::Path;

use vexfs_uapi::client::Declaration;

use super::{Contender, Sides, Slowed, VexfsFile, fill};
use crate::dataset::Dataset;
use crate::failure::{Failure, While};
use crate::protocol::Protocol;

/// Three empty vector files with the same index on the same mount; removed on drop.
pub struct Controlled {
    /// What is measured.
    pub file: VexfsFile,
    again: VexfsFile,
    slowed: Slowed<VexfsFile>,
}

impl Controlled {
    /// Creates them in `directory`.
    ///
    /// # Errors
    /// As [`VexfsFile::create`].
    pub fn create(name: &str, directory: &Path, declaration: Declaration) -> Result<Self, Failure> {
        let create = |file: &str| VexfsFile::create(name, &directory.join(file), declaration);
        let slowed = Slowed::new(create("slowed.f32")?, declaration.dim as usize);
        Ok(Controlled { file: create("base.f32")?, again: create("again.f32")?, slowed })
    }

    /// Inserts the base of `dataset` into all three.
    ///
    /// # Errors
    /// The first failure.
    pub fn fill(&mut self, dataset: &Dataset, protocol: &Protocol) -> Result<(), Failure> {
        let Controlled { file, again, slowed } = self;
        for one in [file as &mut dyn Contender, again, slowed] {
            fill(one, dataset, protocol).when(one.name().to_owned())?;
        }
        Ok(())
    }

    /// The sides of a measurement against `b`.
    pub fn against<'a>(&'a mut self, b: &'a mut dyn Contender) -> Sides<'a> {
        Sides { a: &mut self.file, b, again: &mut self.again, slowed: &mut self.slowed }
    }
}
