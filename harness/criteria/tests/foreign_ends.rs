//! What `make foreign` makes of a module that takes its guest's kernel with it.

#[path = "foreign/ends.rs"]
mod ends;

use std::path::PathBuf;

use ends::End;
use evidence::guest::Accelerator;
use evidence::place::Place;
use evidence::{Event, GuestEnded, GuestFault, TrialState, Writer};
use homes::kernel::DOES_NOT_LOAD;
use tempfile::TempDir;

fn ended(fault: GuestFault, how: &str, trouble: &[&str]) -> GuestEnded {
    GuestEnded {
        how: how.to_owned(),
        fault,
        code: None,
        console_tail: Vec::new(),
        trouble: trouble.iter().map(|&line| line.to_owned()).collect(),
        host_changes: Vec::new(),
        boot_seconds: Some(1.0),
        first_output_seconds: Some(2.0),
        total_seconds: 3.0,
        accelerator: Accelerator::Tcg,
        evidence: None,
    }
}

/// Writes the evidence of a guest: a trial without a state began and did not end.
fn guest(room: &TempDir, trials: &[(&str, Option<TrialState>)], end: GuestEnded) -> PathBuf {
    let directory = room.path().join(trials[0].0);
    std::fs::create_dir(&directory).unwrap();
    let trail = Writer::open(&directory, Place::Guest).unwrap();
    for &(name, state) in trials {
        let trial = name.to_owned();
        trail.write(Event::TrialStarted { trial: trial.clone() }).unwrap();
        if let Some(state) = state {
            let message = "its message".to_owned();
            trail.write(Event::TrialFinished { trial, state, message, seconds: 1.0 }).unwrap();
        }
    }
    let host = Writer::open(&directory, Place::Host).unwrap();
    host.write(Event::GuestEnded(end)).unwrap();
    directory
}

#[test]
fn the_trial_in_which_the_kernel_oopsed_is_named_and_the_rest_is_tried_later() {
    let room = tempfile::tempdir().unwrap();
    let oops = ["BUG: kernel NULL pointer dereference", "Kernel panic - not syncing: Fatal"];
    let died = ended(GuestFault::Kernel, "the guest's kernel panicked", &oops);
    let trials = [
        ("passes", Some(TrialState::Passed)),
        ("fails", Some(TrialState::Failed)),
        ("undecided", Some(TrialState::Undecided)),
        ("later", Some(TrialState::NotTried)),
        ("never", Some(TrialState::NotTried)),
        ("oopses", None),
    ];
    let first = guest(&room, &trials, died);
    let message = || "its message".to_owned();
    let of_first = ends::read(std::slice::from_ref(&first), Place::Guest).unwrap();
    assert_eq!(of_first["later"], End::NotTried(message()));
    assert_eq!(of_first["oopses"], End::Kernel { words: oops[0].to_owned(), oops: true });

    let again = [("later", Some(TrialState::Passed)), ("passes", Some(TrialState::Failed))];
    let second = guest(&room, &again, ended(GuestFault::None, "it ended with 0", &[]));
    let both = ends::read(&[first, second], Place::Guest).unwrap();
    assert_eq!(both["later"], End::Passed);
    assert_eq!(both["passes"], End::Passed, "what was tried is not tried again");
    assert_eq!(both["fails"], End::Failed(message()));
    assert_eq!(both["undecided"], End::Undecided(message()));
    assert_eq!(both["never"], End::NotTried(message()));
}

#[test]
fn a_module_that_does_not_load_is_not_tried_in_another_guest() {
    let not_tried = |message: &str| End::NotTried(message.to_owned());
    let loaded = "not tried: mine is loaded already; an earlier trial could not unload it";
    assert!(not_tried(loaded).may_be_tried_again());
    let why = "module::loads_and_is_listed says why";
    let does_not_load = not_tried(&format!("not tried: mine {DOES_NOT_LOAD}; {why}"));
    assert!(!does_not_load.may_be_tried_again());
    assert!(!End::Passed.may_be_tried_again());
}

#[test]
fn a_guest_that_falls_silent_or_is_ended_by_its_limit_did_not_oops() {
    let room = tempfile::tempdir().unwrap();
    let silent = ended(GuestFault::Kernel, "the guest said nothing for 600 s", &[]);
    let silent = guest(&room, &[("hangs", None)], silent);
    let words = "the guest said nothing for 600 s".to_owned();
    let ends = ends::read(&[silent], Place::Guest).unwrap();
    assert_eq!(ends["hangs"], End::Kernel { words, oops: false });

    let late = ended(GuestFault::Other, "it ran longer than 3600 s", &[]);
    let late = guest(&room, &[("slow", None)], late);
    let ends = ends::read(&[late], Place::Guest).unwrap();
    assert_eq!(ends["slow"], End::NotTried("it did not end: it ran longer than 3600 s".into()));
}
