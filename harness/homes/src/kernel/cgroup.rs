//! A memory cgroup that is removed on every path.
//!
//! Reference: Documentation/admin-guide/cgroup-v2.rst in the kernel sources.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Command};

use machine::fail;
use machine::failure::{Failure, WithContext};

/// The directory in which the guest's cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// A cgroup with the memory controller.
#[derive(Debug)]
pub struct MemoryCgroup {
    path: PathBuf,
}

impl MemoryCgroup {
    /// Makes a new one below the root.
    ///
    /// # Errors
    /// If there is no cgroup2 or no memory controller, or no right to make one.
    pub fn new() -> Result<MemoryCgroup, Failure> {
        let controllers = format!("{ROOT}/cgroup.subtree_control");
        fs::write(&controllers, "+memory").context(controllers)?;
        let path = PathBuf::from(format!("{ROOT}/vexfs-validation-{}", process::id()));
        fs::create_dir(&path).context(path.display())?;
        Ok(MemoryCgroup { path })
    }

    /// Makes the process that `command` starts a member, before it runs its program.
    pub fn joins(&self, command: &mut Command) -> Result<(), Failure> {
        let path = self.path.join("cgroup.procs");
        let mut members: File =
            OpenOptions::new().write(true).open(&path).context(path.display())?;
        // SAFETY: between fork and exec there is only one write(2), from static memory.
        unsafe { command.pre_exec(move || members.write_all(b"0")) };
        Ok(())
    }

    /// Makes its members wait for each page they take beyond `bytes` (`memory.high`).
    pub fn waits_above(&self, bytes: u64) -> Result<(), Failure> {
        let path = self.path.join("memory.high");
        fs::write(&path, bytes.to_string()).context(path.display())
    }

    /// How many bytes are charged to it.
    pub fn charged(&self) -> Result<u64, Failure> {
        let path = self.path.join("memory.current");
        Ok(fs::read_to_string(&path).context(path.display())?.trim_end().parse()?)
    }

    /// How many of these bytes the kernel holds on its behalf.
    ///
    /// # Errors
    /// A kernel before 5.18 does not report this.
    pub fn kernel_memory(&self) -> Result<u64, Failure> {
        let path = self.path.join("memory.stat");
        let text = fs::read_to_string(&path).context(path.display())?;
        let kernel = text.lines().find_map(|line| line.strip_prefix("kernel "));
        let Some(kernel) = kernel else {
            fail!("{} has no line 'kernel', which needs Linux 5.18 or later", path.display())
        };
        Ok(kernel.trim().parse()?)
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}
