//! What a run records, and the registered design that its results are judged by.
//!
//! A run's directory holds one append-only file of JSON lines per place (`host.jsonl`,
//! `guest.jsonl`). Every record is synced before the writer goes on, so a guest that panics loses
//! nothing that was finished. Every record also carries the hash of the line before it, so a
//! changed, missing or doubled line shows. `docs/evidence.md` describes the records for readers.
//!
//! This crate is the bottom floor: it knows types, numbers and files, and nothing of mounts,
//! guests, processes or devices. Begin with [`Event`], then [`facts`] for what trials add to it;
//! [`protocol`] and [`thresholds`] are the registered design, [`stats`] the arithmetic.

pub mod baselines;
pub mod clock;
pub mod competitor;
pub mod criterion;
pub mod digest;
mod ends;
pub mod environment;
mod event;
pub mod exit;
pub mod facts;
pub mod files;
pub mod guest;
mod json;
pub mod kernel_log;
pub mod level;
mod measurement;
pub mod noise;
pub mod place;
pub mod processor;
pub mod protocol;
mod reader;
pub mod schema;
pub mod series;
pub mod shell;
pub mod stats;
mod strict;
pub mod thresholds;
pub mod utc;
mod writer;

pub use ends::against_the_launcher;
pub use environment::Environment;
pub use event::{Event, OLDEST_READABLE, PhaseState, Record, SCHEMA_VERSION, TrialState};
pub use guest::{EndOfTrail, GuestEnd, GuestEnded, GuestFault, GuestLaunch};
pub use measurement::{Controls, CutShort, Measurement, Order, Round, Side};
pub use reader::{Damage, Trail, end_of_trail, read_trail};
pub use writer::{EvidenceError, Writer};
