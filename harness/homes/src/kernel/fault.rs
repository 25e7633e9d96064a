//! Allocations that fail and indexes that break on purpose, in the module's test build (`build.sh
//! --fault-injection`, docs/kernel-module.md). Allocations may also be made to fail by a kernel that
//! has fault injection (Documentation/fault-injection/fault-injection.rst).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{config, project, under_test};

use super::module::ModuleFile;

const OF_THE_MODULE: &str = "/sys/module/vexfs/parameters/fail_nth";
const BREAK: &str = "/sys/module/vexfs/parameters/break_nth";
const OF_THE_THREAD: &str = "/proc/thread-self/fail-nth";
const FAILSLAB: &str = "/sys/kernel/debug/failslab";
/// Missing in a kernel that cannot restrict failures to one module
/// (FAULT_INJECTION_STACKTRACE_FILTER).
const FILTER: &str = "/sys/kernel/debug/failslab/require-start";
const SECTION: &str = "/sys/module/vexfs/sections/.text";
const SIZE: &str = "/sys/module/vexfs/coresize";

/// The module's test build for the running kernel.
///
/// # Errors
/// If it is missing or no module; as not tried if the module is not the reference.
pub fn test_build() -> Result<ModuleFile, Failure> {
    if let Some(own) = &config::current()?.module {
        return Err(Failure::not_tried(format!(
            "not tried: there is no build of {} whose allocations can be made to fail, and the \
             reference's build says nothing about it",
            own.path.display()
        )));
    }
    ModuleFile::read(&under_test::fault_injection_module(&project::running_kernel()))
}

/// Makes the `nth` call of the engine from now on find its index broken, once; with 0, none does.
///
/// # Errors
/// If the loaded module is not the test build.
pub fn break_nth(nth: u32) -> Result<(), Failure> {
    fs::write(BREAK, nth.to_string()).context(BREAK)
}

/// How many calls remain until the one of [`break_nth`]; 0 once it has been made.
///
/// # Errors
/// If the loaded module is not the test build.
pub fn until_break() -> Result<u32, Failure> {
    fs::read_to_string(BREAK).context(BREAK)?.trim().parse().context(BREAK)
}

/// What makes an allocation fail.
#[derive(Debug)]
pub enum Injector {
    /// The module's test build: any of its own allocations, including pages and those of the
    /// engine.
    Module,
    /// The kernel, in the thread that made this: any slab allocation made below the module's code,
    /// including those for an inode or the root's dentry. The file stays open, because opening it
    /// allocates.
    Kernel(File),
}

impl Injector {
    /// Failures by the kernel in the loaded module and this thread; `None` if the kernel has no
    /// fault injection that can be restricted.
    ///
    /// # Errors
    /// If the kernel has it, but it cannot be set up.
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
            // Allocations that may wait fail as well, and failures are not logged.
            ("ignore-gfp-wait", "N".to_owned()),
            ("verbose", "0".to_owned()),
        ] {
            let path = format!("{FAILSLAB}/{name}");
            fs::write(&path, &value).context(format!("echo {value} > {path}"))?;
        }
        let own = OpenOptions::new().read(true).write(true).open(OF_THE_THREAD);
        Ok(Some(Injector::Kernel(own.context(OF_THE_THREAD)?)))
    }

    /// Makes the `nth` allocation from now on fail, once; with 0, none fails.
    ///
    /// # Errors
    /// If the loaded module is not the test build.
    pub fn fail_nth(&self, nth: u32) -> Result<(), Failure> {
        let text = nth.to_string();
        match self {
            Injector::Module => fs::write(OF_THE_MODULE, text).context(OF_THE_MODULE),
            Injector::Kernel(own) => own.write_all_at(text.as_bytes(), 0).context(OF_THE_THREAD),
        }
    }

    /// How many allocations remain until the one of [`Injector::fail_nth`]; 0 after it has failed.
    ///
    /// # Errors
    /// If the loaded module is not the test build.
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
