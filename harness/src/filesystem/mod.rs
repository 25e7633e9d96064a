//! What a VexFS does as a file system and by the contract's ioctls, whatever home serves it.

mod allocation;
pub(crate) mod apart;
mod asynchronous;
mod attributes;
mod capacity;
mod data;
mod direct;
mod directories;
mod expect;
mod handles;
mod links;
mod mapped;
mod mapping;
mod open;
mod operation;
pub mod out_of_memory;
mod permissions;
mod rename;
mod set_id;
mod sparse;
pub(crate) mod stores;
mod threads;
mod times;
mod transfer;
mod users;
mod vectors;
mod vexctl;
mod xattrs;

pub(crate) use expect::expect_errno;
pub(crate) use mapped::Mapping;
pub(crate) use mapping::signal_of_reading;
pub use operation::{Effort, Operation, all_operations, quick_operations};
pub use threads::in_thread;
pub(crate) use users::{NOBODY, SOMEBODY, as_user};
pub use vectors::{Served, requests_end_well};
