//! The kernel module under test: loading, mounting, and what the kernel says about it.

mod barrier;
mod cgroup;
pub mod fault;
mod kmemleak;
mod kmsg;
mod loading;
mod memory;
mod modinfo;
mod module;
mod mount;
mod names;
mod side_effects;
mod slabs;
mod taint;

pub use barrier::{Consent, may_load};
pub use cgroup::MemoryCgroup;
pub use kmemleak::Kmemleak;
pub use kmsg::{KernelLog, LogRecord, Logged};
pub use loading::{DOES_NOT_LOAD, load_needed, may_be_tried};
pub use memory::{kernel_memory_kib, leaked_allocations};
pub use module::{LoadedModule, ModuleFile, is_listed, live_allocations, load_open, registered};
pub use mount::{KernelMount, mount_command, mounts_by_command};
pub use names::{Names, names};
pub use side_effects::SideEffects;
pub use slabs::look_at_slabs;
pub use taint::{EXPECTED_TAINT, Taint};
