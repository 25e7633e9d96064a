//! Checks what a benchmark program claims of a home: see [`measure::claims`].

use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::claims::{self, NewFiles};
use measure::contender::{Contender, VexfsFile};
use vexfs_uapi::Home;
use vexfs_uapi::client::Declaration;

use crate::trial::Context;

/// Runs the benchmark on FUSE alone.
///
/// # Errors
/// Claims that are not authentic.
pub(super) fn on_fuse(context: &Context, mount: &Path) -> Result<(), Failure> {
    let report = claims::run(&claims::configured(context.emulated())?, mount, Home::Fuse)?;
    context.fact("benchmark on FUSE", report)
}

/// Runs the benchmark on the kernel's mount and on FUSE's in turn, while the other stays idle.
///
/// # Errors
/// Claims that are not authentic, or requests to the home that should have been idle.
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

/// A home that must stay idle: the counters of an index on it must stand still, and no file may be
/// made on it.
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
        require!(after == self.before, "its search counter went from {} to {after}", self.before);
        let made = self.new_files.end()?;
        let files = made.files.len() + made.missed.len();
        require!(files == 0, "{files} files were made on it");
        Ok(())
    }
}
