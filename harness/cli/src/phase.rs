//! The phases of a run: announced on the terminal, timed, and written into the evidence.

mod progress;
mod times;

use std::time::Instant;

use evidence::{Event, EvidenceError, PhaseState, Writer};
use machine::failure::Failure;

use super::output::outln;
pub(super) use progress::Progress;

/// Prefix of a line that announces a phase.
const MARK: &str = "== phase ";

/// The phases, in order.
pub(super) const HOST: &str = "1 FUSE preservation and baseline on the host";
pub(super) const ENVIRONMENT: &str = "2 VM environment and equivalence";
pub(super) const VALIDATION: &str = "3 VM validation";
pub(super) const MODULE: &str = "3 VM validation, module under detectors";
pub(super) const INSTRUCTIONS: &str = "3 VM validation, guest instructions";
pub(super) const VERDICT: &str = "4 verdict";
/// The word for a phase that was not run.
const NOT_RUN: &str = "NOT RUN";
const ALL: [&str; 6] = [HOST, ENVIRONMENT, VALIDATION, MODULE, INSTRUCTIONS, VERDICT];

/// The result of a phase's work: its state, and a note.
pub(super) type PhaseResult = Result<(PhaseState, String), Failure>;

/// Does `work`, and records its start and end. An error fails the phase, but does not end the run.
pub(super) fn run(
    evidence: &Writer,
    progress: &Progress,
    name: &str,
    work: impl FnOnce() -> PhaseResult,
) -> Result<PhaseState, EvidenceError> {
    outln!("\n{MARK}{name}{}", progress.begins(name));
    evidence.write(Event::PhaseStarted { phase: name.to_owned() })?;
    let started = Instant::now();
    let (state, note) = work().unwrap_or_else(|failure| (PhaseState::Failed, failure.to_string()));
    let seconds = started.elapsed().as_secs_f64();
    progress.ends(name);
    finish(evidence, name, state, seconds, note)?;
    Ok(state)
}

/// Records a phase that was not begun, with the reason.
pub(super) fn not_run(evidence: &Writer, name: &str, why: &str) -> Result<(), EvidenceError> {
    outln!("\n{MARK}{name}");
    finish(evidence, name, PhaseState::NotRun, 0.0, why.to_owned())
}

fn finish(
    evidence: &Writer,
    name: &str,
    state: PhaseState,
    seconds: f64,
    note: String,
) -> Result<(), EvidenceError> {
    let word = match state {
        PhaseState::Done => "done",
        PhaseState::Failed => "FAILED",
        PhaseState::NotRun => NOT_RUN,
    };
    let colon = if note.is_empty() { "" } else { ": " };
    outln!("{MARK}{name}: {word} after {seconds:.0} s{colon}{note}");
    evidence.write(Event::PhaseFinished { phase: name.to_owned(), state, seconds, note })
}
