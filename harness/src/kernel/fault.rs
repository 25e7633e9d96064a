//! Allocations of the module that fail on purpose: only in its test build
//! (`build.sh --fault-injection`, docs/kernel-module.md).

use std::fs;

use super::module::ModuleFile;
use crate::failure::{Failure, While};
use crate::project;

const FAIL_NTH: &str = "/sys/module/vexfs/parameters/fail_nth";

/// The module's test build for the running kernel.
///
/// # Errors
/// Where it is missing or no module.
pub fn test_build() -> Result<ModuleFile, Failure> {
    ModuleFile::read(&project::fault_injection_module(&project::running_kernel()))
}

/// Lets the `nth` allocation from now fail, once; 0 none.
///
/// # Errors
/// Where the module loaded is not the test build.
pub fn fail_nth(nth: u32) -> Result<(), Failure> {
    fs::write(FAIL_NTH, nth.to_string()).when(FAIL_NTH)
}

/// What is left of [`fail_nth`]: 0 once an allocation has failed.
///
/// # Errors
/// Where the module loaded is not the test build.
pub fn until_failure() -> Result<u32, Failure> {
    fs::read_to_string(FAIL_NTH).when(FAIL_NTH)?.trim().parse().when(FAIL_NTH)
}
