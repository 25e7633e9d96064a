//! The library behind the success criteria of vexfs-validation.
//!
//! A criterion (`tests/*.rs`) declares [`trial::Trial`]s: a name, the places it belongs to, what
//! it needs and a body. [`trial::main`] decides by one policy what runs, what is skipped and what
//! fails for want of something. Bodies write [`evidence`], and [`verdict`] is a pure function of
//! it. [`vm`] boots the guest; `vexfs-validate` (`src/main.rs`, [`cli`]) puts it all together.

pub mod adversary;
pub mod cli;
pub mod criteria;
pub mod doctor;
pub mod expected;
pub mod parts;
pub mod regress;
pub mod requirement;
pub mod sabotage;
pub mod soak;
pub mod trial;

pub use ::measure::{
    claims as benchmark, contender, dataset, oracle, peers as bench, rounds as measure,
};
pub use guest as vm;
pub use homes::{Mounted, filesystem, fuse, kernel, sequence, torture};
pub use machine::{
    child, clock, config, deadline, environment, fail, failure, interrupt, mount, noise,
    own_sources, part, place, programs, project, require, selftest, temporary, uncached as afresh,
    under_test,
};
