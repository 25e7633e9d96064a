//! Keeps `try` from hanging: a daemon that does not answer in time is killed, and so is one that is
//! being tried on Ctrl-C.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use evidence::exit;
use homes::fuse::kill_daemons_of;
use machine::failure::Failure;
use machine::interrupt::{Signals, interrupted};
use machine::place;

use crate::stop::Stop;

/// The first words of the failure of a thing that was not done in time.
pub(super) const HANGS: &str = "it hangs";

/// How often the limit and Ctrl-C are checked.
const LOOK: Duration = Duration::from_millis(50);

/// How many times longer things may take here. An emulated CPU is slow.
pub(super) fn slowness() -> u32 {
    if place::hypervisor_vendor().starts_with("TCG") { 10 } else { 1 }
}

/// Why daemons were ended before their time.
enum Ended {
    Late,
    Interrupted,
}

/// Returns the result of `work`. After `limit` or on Ctrl-C, the daemons that this thread started
/// are killed, which frees whatever waits for them.
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
            // Until `work` returns: it may be starting another daemon, or about to send a request.
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
        return Err(Stop::new(exit::INTERRUPTED, "interrupted; no process or mount is left"));
    }
    Ok(match (outcome, cut_short) {
        (Err(_), Some(_)) => Err(E::from(Failure::new(format!(
            "{HANGS}: not done within {} s; then the FUSE daemon was killed to free the processes \
             that waited for it",
            limit.as_secs()
        )))),
        (outcome, _) => outcome,
    })
}
