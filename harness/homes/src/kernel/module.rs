//! Loading and unloading `vexfs.ko`, and what the kernel lists of it.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::{Failure, While};
use machine::{config, fail, project, require, under_test};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};

use super::modinfo::modinfo;
use super::names::names;

/// How long a reference that somebody is just giving back may keep the module.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// A module file and what its `.modinfo` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// The `.ko`.
    pub path: PathBuf,
    /// Kernel release and options that it was built for.
    pub vermagic: String,
    /// Hash of its sources.
    pub srcversion: String,
}

impl ModuleFile {
    /// The module built for the running kernel.
    ///
    /// # Errors
    /// Where it is missing or no module.
    pub fn of_running_kernel() -> Result<ModuleFile, Failure> {
        ModuleFile::read(&under_test::kernel_module(&project::running_kernel())?)
    }

    /// Reads what the file at `path` says of itself.
    ///
    /// # Errors
    /// Where it cannot be read, or has no vermagic.
    pub fn read(path: &Path) -> Result<ModuleFile, Failure> {
        let bytes = fs::read(path).when(format!(
            "{} (build it with: fixtures/vexfs/kernel/build.sh --kernel RELEASE)",
            path.display()
        ))?;
        let value = |key| modinfo(&bytes, key);
        let Some(vermagic) = value("vermagic=") else {
            fail!("{} is no kernel module: it has no vermagic", path.display());
        };
        Ok(ModuleFile {
            path: path.to_owned(),
            vermagic,
            srcversion: value("srcversion=").unwrap_or_default(),
        })
    }

    /// That it was built for the kernel `release`.
    ///
    /// # Errors
    /// Both releases, and what to do.
    pub fn must_match(&self, release: &str) -> Result<(), Failure> {
        let built_for = self.vermagic.split(' ').next().unwrap_or_default();
        require!(
            built_for == release,
            "{} was built for kernel {built_for}, running is {release}; build it for that with: \
             fixtures/vexfs/kernel/build.sh --kernel {release}",
            self.path.display()
        );
        Ok(())
    }

    /// finit_module(2).
    ///
    /// # Errors
    /// Its errno.
    pub fn load(&self) -> Result<LoadedModule, Failure> {
        self.load_with("")
    }

    /// finit_module(2) with module parameters, as `name=value name=value`.
    ///
    /// # Errors
    /// Its errno.
    pub fn load_with(&self, parameters: &str) -> Result<LoadedModule, Failure> {
        let file = File::open(&self.path).when(self.path.display())?;
        let parameters = CString::new(parameters)?;
        finit_module(&file, &parameters, ModuleInitFlags::empty()).when("finit_module")?;
        Ok(LoadedModule(()))
    }
}

/// finit_module(2) of an open file: nothing but the system call, for cycles that are timed.
///
/// # Errors
/// Its errno.
pub fn load_open(file: &File) -> Result<LoadedModule, Failure> {
    finit_module(file, &CString::default(), ModuleInitFlags::empty()).when("finit_module")?;
    Ok(LoadedModule(()))
}

/// The module while it is loaded; unloaded on drop.
#[derive(Debug)]
pub struct LoadedModule(());

impl LoadedModule {
    /// delete_module(2), which waits for nobody.
    ///
    /// # Errors
    /// Its errno; EBUSY only if it lasts.
    pub fn unload(self) -> Result<(), Failure> {
        self.unload_within(BUSY_LIMIT)
    }

    /// delete_module(2) until others let the module go.
    ///
    /// # Errors
    /// Its errno; EBUSY only if it lasts for `limit`.
    pub fn unload_within(self, limit: Duration) -> Result<(), Failure> {
        let result = wait_for("unloading (the module is in use)", limit, || match delete() {
            Ok(()) => Ok(Some(())),
            Err(Errno::EWOULDBLOCK | Errno::EBUSY) => Ok(None),
            Err(errno) => Err(Failure::from(errno)).when("delete_module"),
        });
        if result.is_ok() {
            std::mem::forget(self);
        }
        result
    }

    /// What delete_module(2) says, once, while the module should not go.
    ///
    /// # Errors
    /// The errno with which it refused.
    pub fn try_unload(&self) -> Result<(), Errno> {
        delete()
    }

    /// `srcversion` in /sys/module: which sources the loaded module has.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn srcversion(&self) -> Result<String, Failure> {
        let path = format!("/sys/module/{}/srcversion", names().module);
        Ok(fs::read_to_string(&path).when(&path)?.trim().to_owned())
    }
}

impl Drop for LoadedModule {
    fn drop(&mut self) {
        // Best effort on the way out of a failure; a module that cannot go stays listed, and the
        // next trial says so.
        let _ = delete();
    }
}

/// delete_module(2), which waits for nobody.
fn delete() -> Result<(), Errno> {
    let name = CString::new(names().module.as_str()).map_err(|_| Errno::EINVAL)?;
    delete_module(&name, DeleteModuleFlags::O_NONBLOCK)
}

/// Whether /proc/modules lists the module.
///
/// # Errors
/// Where it cannot be read.
pub fn is_listed() -> Result<bool, Failure> {
    first_words("/proc/modules", |line| line.split(' ').next() == Some(names().module.as_str()))
}

/// Whether /proc/filesystems lists the file system.
///
/// # Errors
/// Where it cannot be read.
pub fn registered() -> Result<bool, Failure> {
    first_words("/proc/filesystems", |line| {
        line.split('\t').nth(1) == Some(names().file_system.as_str())
    })
}

fn first_words(path: &str, is_it: impl Fn(&str) -> bool) -> Result<bool, Failure> {
    Ok(fs::read_to_string(path).when(path)?.lines().any(is_it))
}

/// Allocations of the module's engine that are alive, by its own count in /sys/fs. `None` where a
/// module that is not the reference keeps none: its memory is looked at from outside.
///
/// # Errors
/// The count cannot be read, or the reference has none.
pub fn live_allocations() -> Result<Option<u64>, Failure> {
    let path = format!("/sys/fs/{}/live_allocations", names().file_system);
    if config::current()?.module.is_some() && !Path::new(&path).exists() {
        return Ok(None);
    }
    Ok(Some(fs::read_to_string(&path).when(&path)?.trim().parse().when(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(vermagic: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("\x7fELF\0license=GPL\0{vermagic}\0srcversion=AB12\0rest");
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_module_built_for_another_kernel_is_named() {
        let file = module("vermagic=6.1.0-1-amd64 SMP preempt mod_unload modversions ");
        let module = ModuleFile::read(file.path()).unwrap();
        assert_eq!(module.srcversion, "AB12");
        assert!(module.must_match("6.1.0-1-amd64").is_ok());
        let message = module.must_match("6.12.1").unwrap_err().to_string();
        assert!(message.contains("built for kernel 6.1.0-1-amd64, running is 6.12.1"), "{message}");
        assert!(message.contains("build.sh --kernel 6.12.1"), "{message}");
    }

    #[test]
    fn what_is_no_module_is_named() {
        let file = module("author=nobody");
        let message = ModuleFile::read(file.path()).unwrap_err().to_string();
        assert!(message.contains("no kernel module"), "{message}");
        assert!(ModuleFile::read(Path::new("/nonexistent.ko")).is_err());
    }
}
