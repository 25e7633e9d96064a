//! How trials ended, read from the evidence of one run or of several guests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use evidence::kernel_log::{Trouble, trouble_in};
use evidence::place::Place;
use evidence::{Event, GuestEnded, GuestFault, Record, TrialState, read_trail};
use homes::kernel::DOES_NOT_LOAD;
use machine::failure::Failure;

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It passed.
    Passed,
    /// It failed with this message.
    Failed(String),
    /// It belongs to another place.
    Elsewhere,
    /// It was not tried, or not to its end, for this reason: another run may try it.
    NotTried(String),
    /// It was tried, and cannot be decided.
    Undecided(String),
    /// It took the guest's kernel with it: the kernel's own words, and whether it was an oops.
    Kernel { words: String, oops: bool },
}

impl End {
    /// Whether another guest may try it. A module that does not load as it should does so in no
    /// guest.
    pub fn may_be_tried_again(&self) -> bool {
        matches!(self, End::NotTried(message) if !message.contains(DOES_NOT_LOAD))
    }
}

/// The ends of all trials in `directories`, which are in the order of their runs. A later run only
/// replaces what an earlier one did not try.
pub fn read(directories: &[PathBuf], place: Place) -> Result<BTreeMap<String, End>, Failure> {
    let mut all: BTreeMap<String, End> = BTreeMap::new();
    for directory in directories {
        let Some(trail) = read_trail(directory, place)? else {
            machine::fail!("{} has no evidence", directory.display())
        };
        let host = read_trail(directory, Place::Host)?.map(|trail| trail.records);
        let guest = host.iter().flatten().find_map(|record| match &record.event {
            Event::GuestEnded(ended) if place == Place::Guest => Some(ended),
            _ => None,
        });
        for (name, end) in of_run(&trail.records, guest) {
            match all.get(&name) {
                Some(known) if !matches!(known, End::NotTried(_)) => {}
                _ => drop(all.insert(name, end)),
            }
        }
    }
    Ok(all)
}

/// The ends in one run's `records`, whose guest ended as `guest` says.
fn of_run(records: &[Record], guest: Option<&GuestEnded>) -> BTreeMap<String, End> {
    let mut ends = BTreeMap::new();
    for record in records {
        match &record.event {
            Event::TrialStarted { trial } => ends.insert(trial.clone(), unended(guest)),
            Event::Skipped { trial, .. } => ends.insert(trial.clone(), End::Elsewhere),
            Event::TrialFinished { trial, state, message, .. } => {
                let end = match state {
                    TrialState::Passed => End::Passed,
                    TrialState::Failed => End::Failed(message.clone()),
                    TrialState::NotTried => End::NotTried(message.clone()),
                    TrialState::Undecided => End::Undecided(message.clone()),
                };
                ends.insert(trial.clone(), end)
            }
            _ => None,
        };
    }
    ends
}

/// The end of a trial that began and wrote no end.
fn unended(guest: Option<&GuestEnded>) -> End {
    match guest {
        Some(ended) if ended.fault == GuestFault::Kernel => {
            let trouble = ended.trouble.iter().filter_map(|line| trouble_in(line));
            let oops = trouble.clone().any(|finding| finding.trouble == Trouble::Oops);
            // The first words name the cause; the panic that follows only ends the guest.
            let first = trouble.map(|finding| finding.headline).next();
            End::Kernel { words: first.unwrap_or_else(|| ended.how.clone()), oops }
        }
        Some(ended) => End::NotTried(format!("it did not end: {}", ended.how)),
        None => End::NotTried("it did not end".to_owned()),
    }
}
