//! The kernel module under test: loading, mounting, and what the kernel says about it.

mod cgroup;
pub mod fault;
mod kmsg;
mod memory;
mod module;
mod mount;
mod taint;

pub use cgroup::MemoryCgroup;
pub use kmsg::{KernelLog, LogRecord, Logged};
pub use memory::{kernel_memory_kib, outlived};
pub use module::{LoadedModule, ModuleFile, is_listed, live_allocations, load_open, registered};
pub use mount::KernelMount;
pub use taint::{EXPECTED_TAINT, Taint};
