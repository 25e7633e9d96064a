//! Allocations that fail on purpose: in the module's test build (`build.sh --fault-injection`,
//! docs/kernel-module.md), or by a kernel that has fault injection
//! (Documentation/fault-injection/fault-injection.rst).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{config, project, under_test};

use super::module::ModuleFile;

const OF_THE_MODULE: &str = "/sys/module/vexfs/parameters/fail_nth";
const OF_THE_THREAD: &str = "/proc/thread-self/fail-nth";
const FAILSLAB: &str = "/sys/kernel/debug/failslab";
/// What a kernel lacks that cannot restrict failures to one module (FAULT_INJECTION_STACKTRACE_FILTER).
const FILTER: &str = "/sys/kernel/debug/failslab/require-start";
const SECTION: &str = "/sys/module/vexfs/sections/.text";
const SIZE: &str = "/sys/module/vexfs/coresize";

/// The module's test build for the running kernel.
///
/// # Errors
/// Where it is missing or no module; undecided where the module is not the reference.
pub fn test_build() -> Result<ModuleFile, Failure> {
    if let Some(own) = &config::current()?.module {
        return Err(Failure::undecided(format!(
            "not tried: there is no build of {} whose allocations can be made to fail, and the \
             reference's says nothing of it",
            own.path.display()
        )));
    }
    ModuleFile::read(&under_test::fault_injection_module(&project::running_kernel()))
}

/// Who makes an allocation fail.
#[derive(Debug)]
pub enum Injector {
    /// The module's test build: each allocation of its own, of pages and of the engine too.
    Module,
    /// The kernel, in the thread that made this: each allocation of slabs below the module's code,
    /// as for an inode or for the root's dentry, too. Its file stays open: to open it allocates.
    Kernel(File),
}

impl Injector {
    /// The kernel, where it has fault injection that can be restricted, for the loaded module and this thread.
    ///
    /// # Errors
    /// It has, and cannot be told.
    pub fn of_the_kernel() -> Result<Option<Injector>, Failure> {
        if !Path::new(FILTER).exists() {
            return Ok(None);
        }
        let start = fs::read_to_string(SECTION).context(SECTION)?;
        let start =
            u64::from_str_radix(start.trim().trim_start_matches("0x"), 16).context(SECTION)?;
        let size: u64 = fs::read_to_string(SIZE).context(SIZE)?.trim().parse().context(SIZE)?;
        for (name, value) in [
            ("require-start", format!("{start:#x}")),
            ("require-end", format!("{:#x}", start + size)),
            // Allocations that may wait fail as well, and without a word in the kernel's log.
            ("ignore-gfp-wait", "N".to_owned()),
            ("verbose", "0".to_owned()),
        ] {
            let path = format!("{FAILSLAB}/{name}");
            fs::write(&path, &value).context(format!("echo {value} > {path}"))?;
        }
        let own = OpenOptions::new().read(true).write(true).open(OF_THE_THREAD);
        Ok(Some(Injector::Kernel(own.context(OF_THE_THREAD)?)))
    }

    /// Lets the `nth` allocation from now fail, once; 0 none.
    ///
    /// # Errors
    /// Where the module loaded is not the test build.
    pub fn fail_nth(&self, nth: u32) -> Result<(), Failure> {
        let text = nth.to_string();
        match self {
            Injector::Module => fs::write(OF_THE_MODULE, text).context(OF_THE_MODULE),
            Injector::Kernel(own) => own.write_all_at(text.as_bytes(), 0).context(OF_THE_THREAD),
        }
    }

    /// What is left of [`Injector::fail_nth`]: 0 once an allocation has failed.
    ///
    /// # Errors
    /// Where the module loaded is not the test build.
    pub fn until_failure(&self) -> Result<u32, Failure> {
        let text = match self {
            Injector::Module => fs::read_to_string(OF_THE_MODULE).context(OF_THE_MODULE)?,
            Injector::Kernel(own) => {
                let mut bytes = [0; 16];
                let length = own.read_at(&mut bytes, 0).context(OF_THE_THREAD)?;
                String::from_utf8_lossy(&bytes[..length]).into_owned()
            }
        };
        text.trim().parse().context("fail_nth")
    }
}
