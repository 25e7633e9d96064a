//! Loads and unloads `vexfs.ko`, and reads what the kernel lists about it.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::facts::ModuleIdentity;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{fail, project, require, under_test};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};
use vexfs_uapi::Home;

use super::barrier::{Consent, may_load};
use super::modinfo::{has_symbol, modinfo};
use super::names::names;
use crate::is_own;

/// How long to wait for a reference that somebody is about to drop.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// The first bytes of compressed files, and the programs that decompress them.
const COMPRESSED: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b", "gzip")];

/// A module file and the content of its `.modinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// The `.ko`.
    pub path: PathBuf,
    /// Kernel release and options that it was built for.
    pub vermagic: String,
    /// Hash of its sources; empty if it was built without one, as Debian's kernels do for modules
    /// without MODULE_VERSION.
    pub srcversion: String,
    /// The modules that it needs.
    pub depends: Vec<String>,
    /// Whether it has an init function but no exit function, so that the kernel can never unload
    /// it.
    pub is_permanent: bool,
}

impl ModuleFile {
    /// The module built for the running kernel.
    ///
    /// # Errors
    /// If it is missing or no module.
    pub fn of_running_kernel() -> Result<ModuleFile, Failure> {
        ModuleFile::read(&under_test::kernel_module(&project::running_kernel())?)
    }

    /// Reads what the file at `path` says about itself.
    ///
    /// # Errors
    /// If it cannot be read, or has no vermagic.
    pub fn read(path: &Path) -> Result<ModuleFile, Failure> {
        let bytes = fs::read(path).context(format!(
            "{} (build it with: fixtures/vexfs/kernel/build.sh --kernel RELEASE)",
            path.display()
        ))?;
        if let Some((_, program)) = COMPRESSED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            fail!(
                "{} is compressed, but modules are loaded as they are; name the file that this \
                 command makes: {program} --decompress --keep {0}",
                path.display()
            );
        }
        let value = |key| modinfo(&bytes, key);
        let Some(vermagic) = value("vermagic=") else {
            fail!("{} is no kernel module: it has no vermagic", path.display());
        };
        let depends = value("depends=").unwrap_or_default();
        let depends = depends.split(',').filter(|name| !name.is_empty());
        Ok(ModuleFile {
            path: path.to_owned(),
            vermagic,
            srcversion: value("srcversion=").unwrap_or_default(),
            depends: depends.map(str::to_owned).collect(),
            is_permanent: has_symbol(&bytes, "init_module")
                && !has_symbol(&bytes, "cleanup_module"),
        })
    }

    /// The values that identify it in the evidence.
    pub fn identity(&self) -> ModuleIdentity {
        ModuleIdentity { vermagic: self.vermagic.clone(), srcversion: self.srcversion.clone() }
    }

    /// Checks that the kernel `release` can load and unload it.
    ///
    /// # Errors
    /// As [`ModuleFile::must_match`], or if it has no exit function.
    pub fn must_be_of_use(&self, release: &str) -> Result<(), Failure> {
        self.must_match(release)?;
        require!(
            !self.is_permanent,
            "{} has no exit function, so the kernel never unloads it, but the trials load and \
             unload it; give it a module_exit()",
            self.path.display()
        );
        Ok(())
    }

    /// Checks that it was built for the kernel `release`.
    ///
    /// # Errors
    /// Names both releases, and what to do.
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
}

/// Loads an open file with finit_module(2), and does nothing else, for cycles that are timed.
///
/// # Errors
/// Its errno.
pub fn load_open(file: &File) -> Result<LoadedModule, Failure> {
    init(file, &CString::default())
}

/// As [`load_open`], with module parameters.
pub(super) fn init(file: &File, parameters: &CStr) -> Result<LoadedModule, Failure> {
    may_load(Consent::None)?;
    finit_module(file, parameters, ModuleInitFlags::empty()).context("finit_module")?;
    Ok(LoadedModule(()))
}

/// The loaded module; unloaded on drop.
#[derive(Debug)]
pub struct LoadedModule(());

impl LoadedModule {
    /// Calls delete_module(2) without waiting in the kernel.
    ///
    /// # Errors
    /// Its errno; EBUSY only if the module stays busy.
    pub fn unload(self) -> Result<(), Failure> {
        self.unload_within(BUSY_LIMIT)
    }

    /// Calls delete_module(2) until the module is no longer in use.
    ///
    /// # Errors
    /// Its errno; EBUSY only if the module stays busy for `limit`.
    pub fn unload_within(self, limit: Duration) -> Result<(), Failure> {
        let result = wait_for("unloading (the module is in use)", limit, || match delete() {
            Ok(()) => Ok(Some(())),
            Err(Errno::EWOULDBLOCK | Errno::EBUSY) => Ok(None),
            Err(errno) => Err(Failure::from(errno)).context("delete_module"),
        });
        if result.is_ok() {
            std::mem::forget(self);
        }
        result
    }

    /// Calls delete_module(2) once, while the module should not be unloadable.
    ///
    /// # Errors
    /// The errno with which the kernel refused.
    pub fn try_unload(&self) -> Result<(), Errno> {
        delete()
    }

    /// `srcversion` in /sys/module, which identifies the sources of the loaded module; empty if it
    /// has none.
    pub fn srcversion(&self) -> Result<String, Failure> {
        let path = format!("/sys/module/{}/srcversion", names().module);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).context(path),
        }
    }
}

impl Drop for LoadedModule {
    fn drop(&mut self) {
        // Best effort on the way out of a failure: users of a detached mount are about to end. A
        // module that cannot be unloaded stays listed, and the next trial reports that.
        let _ = wait_for("", BUSY_LIMIT, || match delete() {
            Err(Errno::EWOULDBLOCK | Errno::EBUSY) => Ok(None),
            _ => Ok(Some(())),
        });
    }
}

/// Calls delete_module(2) without waiting in the kernel.
fn delete() -> Result<(), Errno> {
    delete_by_name(&names().module)
}

/// As [`delete`], for a module called `name`.
pub(super) fn delete_by_name(name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    delete_module(&name, DeleteModuleFlags::O_NONBLOCK)
}

/// Whether /proc/modules lists the module.
pub fn is_listed() -> Result<bool, Failure> {
    Ok(listed_modules()?.contains(&names().module))
}

/// Whether /proc/filesystems lists the file system.
pub fn registered() -> Result<bool, Failure> {
    Ok(registered_file_systems()?.contains(&names().file_system))
}

/// The names of the loaded modules.
pub(super) fn listed_modules() -> Result<BTreeSet<String>, Failure> {
    column("/proc/modules", |line| line.split(' ').next())
}

/// The names of the file systems that are registered now.
pub(super) fn registered_file_systems() -> Result<BTreeSet<String>, Failure> {
    column("/proc/filesystems", |line| line.split('\t').nth(1))
}

fn column(path: &str, of: impl Fn(&str) -> Option<&str>) -> Result<BTreeSet<String>, Failure> {
    Ok(fs::read_to_string(path).context(path)?.lines().filter_map(of).map(str::to_owned).collect())
}

/// The number of live allocations of the module's engine, which it counts itself in /sys/fs. `None`
/// for a module that is not the reference and has no such count; its memory is then checked from
/// outside.
///
/// # Errors
/// If the count cannot be read, or the reference has none.
pub fn live_allocations() -> Result<Option<u64>, Failure> {
    let path = format!("/sys/fs/{}/live_allocations", names().file_system);
    if is_own(Home::Kernel)? && !Path::new(&path).exists() {
        return Ok(None);
    }
    Ok(Some(fs::read_to_string(&path).context(&path)?.trim().parse().context(path)?))
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
    fn what_a_module_needs_is_read() {
        let file = module("vermagic=6.12.1 SMP\0depends=ocfs2_stackglue,libcrc32c");
        assert_eq!(
            ModuleFile::read(file.path()).unwrap().depends,
            ["ocfs2_stackglue", "libcrc32c"]
        );
        let file = module("vermagic=6.12.1 SMP\0depends=");
        assert!(ModuleFile::read(file.path()).unwrap().depends.is_empty());
    }

    #[rstest::rstest]
    #[case("init_module\0cleanup_module", false)]
    #[case("init_module\0__pfx_cleanup_module", true)]
    #[case("cleanup", false)]
    fn a_permanent_module_is_refused(#[case] symbols: &str, #[case] permanent: bool) {
        let file = module(&format!("vermagic=6.12.1 SMP\0{symbols}"));
        let module = ModuleFile::read(file.path()).unwrap();
        assert_eq!(module.is_permanent, permanent);
        let said = module.must_be_of_use("6.12.1").map_err(|failure| failure.to_string());
        assert_eq!(said.is_err(), permanent);
        assert!(said.is_ok() || said.unwrap_err().contains("has no exit function"));
    }

    #[test]
    fn a_compressed_module_says_how_to_decompress_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"\xfd7zXZ\0rest").unwrap();
        let said = ModuleFile::read(file.path()).unwrap_err().to_string();
        assert!(
            said.contains("is compressed") && said.contains("xz --decompress --keep"),
            "{said}"
        );
    }

    #[test]
    fn a_file_that_is_no_module_is_refused() {
        let file = module("author=nobody");
        let message = ModuleFile::read(file.path()).unwrap_err().to_string();
        assert!(message.contains("no kernel module"), "{message}");
        assert!(ModuleFile::read(Path::new("/nonexistent.ko")).is_err());
    }
}
