//! Nothing that is tried hangs: a daemon that holds somebody is ended, and so is one that is tried
//! when a person has seen enough.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use evidence::exit;
use homes::fuse::kill_daemons_of;
use machine::failure::Failure;
use machine::interrupt::{Signals, interrupted};
use machine::place;

use crate::stop::Stop;

/// How the failure begins of what was not done in time.
pub(super) const HANGS: &str = "it hangs";

/// How often it is looked whether somebody interrupts.
const LOOK: Duration = Duration::from_millis(50);

/// How many times as long everything takes here: an emulated CPU is slow.
pub(super) fn slowness() -> u32 {
    if place::hypervisor_vendor().starts_with("TCG") { 10 } else { 1 }
}

/// Why daemons were ended before their time.
enum Ended {
    Late,
    Interrupted,
}

/// What `work` says, for which daemons of this thread are ended after `limit` or on Ctrl-C.
pub(super) fn within<T, E: From<Failure>>(
    limit: Duration,
    signals: &Signals,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<Result<T, E>, Stop> {
    let limit = limit * slowness();
    let worker = thread::current().id();
    let (done, ended) = mpsc::channel::<()>();
    let (outcome, cut_short) = thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let deadline = Instant::now() + limit;
            let why = loop {
                match ended.recv_timeout(LOOK) {
                    Err(RecvTimeoutError::Timeout) if interrupted() => break Ended::Interrupted,
                    Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                        break Ended::Late;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return None,
                }
            };
            // It may be starting another one, or its next request may be on its way.
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                kill_daemons_of(worker);
            }
            Some(why)
        });
        let outcome = work();
        drop(done);
        (outcome, watch.join().unwrap_or_default())
    });
    if signals.interrupted() || matches!(cut_short, Some(Ended::Interrupted)) {
        return Err(Stop::new(exit::INTERRUPTED, "interrupted; nothing is left of what was tried"));
    }
    Ok(match (outcome, cut_short) {
        (Err(_), Some(_)) => Err(E::from(Failure::new(format!(
            "{HANGS}: not done within {} s, when the FUSE daemon was killed to free whoever waited",
            limit.as_secs()
        )))),
        (outcome, _) => outcome,
    })
}
