//! What tests write down as they go, so that the verdict can be recomputed from it.
//!
//! A run's directory holds one append-only file of JSON lines per place (`host.jsonl`,
//! `guest.jsonl`). Every record is synced before the writer goes on, so a guest that panics
//! loses nothing that was finished, and carries the hash of the line before it, so a changed,
//! missing or doubled line shows. `docs/evidence.md` describes the records for readers.

mod ends;
mod environment;
mod event;
mod reader;
#[cfg(test)]
mod schema;
mod writer;

pub use ends::against_the_launcher;
pub use environment::Environment;
pub(crate) use environment::{commit, file_hash, settings};
pub use event::{
    Controls, Event, GuestEnd, GuestFault, Measurement, Order, PhaseState, Record, Round,
    SCHEMA_VERSION, Side, TrailEnd, TrialState,
};
pub use reader::{Damage, Trail, end_of_trail, read_trail};
pub use writer::{EvidenceError, Writer};

use crate::place::{self, Place};

/// Variable that names the evidence directory on the host; in the guest the kernel command line
/// does (see [`crate::place`]).
pub const DIR_VARIABLE: &str = "VEXFS_VALIDATION_EVIDENCE";

/// The file of `place` in an evidence directory.
#[must_use]
pub fn file_name(place: Place) -> &'static str {
    match place {
        Place::Host => "host.jsonl",
        Place::Guest => "guest.jsonl",
    }
}

/// The writer of this process: into the directory of the run it belongs to, or nowhere where a
/// person runs a test by hand.
///
/// # Errors
/// [`EvidenceError`] where the directory is named but cannot be written.
pub fn of_this_process() -> Result<Writer, EvidenceError> {
    let here = place::here();
    let dir = match here.place {
        Place::Guest => here.evidence_dir.clone(),
        Place::Host => std::env::var_os(DIR_VARIABLE).map(Into::into),
    };
    dir.map_or_else(|| Ok(Writer::nowhere(here.place)), |dir| Writer::open(&dir, here.place))
}
