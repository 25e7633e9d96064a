//! Contenders: stores of vectors that are given the same rows and asked the same queries.
//!
//! [`Contender`] is their interface. [`InProcess`] is the engine, [`VexfsFile`] a file of a mounted
//! VexFS, [`Driver`] a competitor in a process of its own. The rounds in which they are measured
//! have four [`Sides`].

mod controlled;
mod driver;
mod in_process;
mod interface;
mod process;
mod program;
mod replicas;
mod rounds;
mod slowed;
mod stores;
mod vexfs_file;

pub use controlled::{AskedStores, Controlled, Insertable, Searchable, insertable, searchable};
pub use driver::Driver;
pub use in_process::InProcess;
pub use interface::{Answer, Answers, Contender, Insertion};
pub use process::Process;
pub use program::{ContenderProgram, DriverLimits};
pub use replicas::Replicas;
pub use rounds::{
    Answered, InsertionRounds, SearchRounds, Sides, Unseen, fill, insertion_rounds, search_rounds,
};
pub use slowed::Slowed;
pub use stores::{STORES, Stock, Stores, building_order, draw_order, fill_stores};
pub use vexfs_file::VexfsFile;
