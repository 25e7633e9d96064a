//! The library behind the success criteria of vexfs-validation.
//!
//! A criterion (`tests/*.rs`) declares [`trial::Trial`]s: a name, the places it belongs to, what
//! it needs and a body. [`trial::main`] decides by one policy what runs, what is skipped and what
//! fails for want of something. Bodies write [`evidence`], and [`verdict`] is a pure function of
//! it. [`vm`] boots the guest; `vexfs-validate` (`src/main.rs`, [`cli`]) puts it all together.

pub mod adversary;
pub mod afresh;
pub mod baselines;
pub mod bench;
pub mod benchmark;
pub mod child;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contender;
pub mod criteria;
pub mod criterion;
pub mod dataset;
pub mod deadline;
pub mod difference;
pub mod doctor;
pub mod evidence;
pub mod exit;
pub mod expected;
pub mod failure;
pub mod filesystem;
pub mod fuse;
pub mod junit;
pub mod kernel;
pub mod measure;
pub mod mount;
pub mod noise;
pub mod oracle;
pub mod part;
pub mod place;
pub mod project;
pub mod protocol;
pub mod regress;
pub mod release;
pub mod report;
pub mod requirement;

pub mod sabotage;
pub mod selftest;
pub mod sequence;
pub mod soak;
pub mod sources;
pub mod stats;
pub mod temporary;
pub mod thresholds;
pub mod torture;
pub mod trial;
pub mod utc;
pub mod verdict;
pub mod vm;

/// A digest's bytes as lower-case hex.
#[must_use]
pub fn sha256_hex(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
