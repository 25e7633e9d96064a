//! What a benchmark program claims of a home: see [`measure::claims`].

use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::claims::{self, NewFiles};
use measure::contender::{Contender, VexfsFile};
use vexfs_uapi::Home;
use vexfs_uapi::client::Declaration;

use crate::trial::Context;

/// On FUSE alone.
///
/// # Errors
/// Claims that are not authentic.
pub(super) fn on_fuse(context: &Context, mount: &Path) -> Result<(), Failure> {
    let report = claims::run(&claims::configured(context.emulated())?, mount, Home::Fuse)?;
    context.fact("benchmark on FUSE", report)
}

/// On the kernel's mount and on FUSE's, in turn, while the other stays idle.
///
/// # Errors
/// Claims that are not authentic, or another home that was asked.
pub(super) fn on_both(context: &Context, kernel: &Path, fuse: &Path) -> Result<(), Failure> {
    let benchmark = claims::configured(context.emulated())?;
    for (name, home, mount, other) in [
        ("benchmark on the kernel", Home::Kernel, kernel, fuse),
        ("benchmark on FUSE", Home::Fuse, fuse, kernel),
    ] {
        let idle = Idle::begin(other)?;
        let report = claims::run(&benchmark, mount, home).context(name)?;
        idle.end().context(format!("{name}: not authentic: the other home was not idle"))?;
        context.fact(name, report)?;
    }
    Ok(())
}

/// A home that nobody is to ask: an index whose counters must stand still, and no file besides.
struct Idle {
    file: VexfsFile,
    new_files: NewFiles,
    before: u64,
}

impl Idle {
    fn begin(mount: &Path) -> Result<Idle, Failure> {
        let mut file = VexfsFile::create("idle", &mount.join("idle.f32"), Declaration::flat(1))?;
        file.insert(0, &[1.0])?;
        file.search(&[1.0], 1)?;
        let before = file.stats()?.searches;
        Ok(Idle { new_files: NewFiles::begin(mount)?, file, before })
    }

    fn end(self) -> Result<(), Failure> {
        let after = self.file.stats()?.searches;
        require!(after == self.before, "its searches went from {} to {after}", self.before);
        let made = self.new_files.end()?;
        let files = made.files.len() + made.missed.len();
        require!(files == 0, "{files} files were made on it");
        Ok(())
    }
}
