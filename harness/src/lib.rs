//! The library behind the success criteria of vexfs-validation.
//!
//! A criterion (`tests/*.rs`) declares [`trial::Trial`]s: a name, the places it belongs to, what
//! it needs and a body. [`trial::main`] decides by one policy what runs, what is skipped and what
//! fails for want of something. Bodies write [`evidence`], and [`verdict`] is a pure function of
//! it. [`vm`] boots the guest; `vexfs-validate` (`src/main.rs`, [`cli`]) puts it all together.

pub mod adversary;
pub mod afresh;
pub mod bench;
pub mod benchmark;
pub mod child;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contender;
pub mod criteria;
pub mod dataset;
pub mod deadline;
pub mod doctor;
pub mod environment;
pub mod expected;
pub mod failure;
pub mod filesystem;
pub mod fuse;
pub mod kernel;
pub mod measure;
pub mod mount;
pub mod noise;
pub mod oracle;
pub mod part;
pub mod place;
pub mod project;
pub mod regress;
pub mod release;
pub mod requirement;
pub mod sabotage;
pub mod selftest;
pub mod sequence;
mod settings;
pub mod soak;
pub mod sources;
pub mod temporary;
pub mod torture;
pub mod trial;
pub mod vm;
