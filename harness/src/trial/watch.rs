//! A limit for trials whose system calls wait for a daemon: nothing else ends such a wait.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::Context;
use crate::failure::Failure;
use crate::fuse::kill_daemons_of;

/// An emulated CPU takes as many times as long.
const EMULATED: u32 = 10;

/// Runs `body`, whose daemons are killed after `limit`.
///
/// # Errors
/// That of `body`; and where it took longer, what became of it.
pub(super) fn within(
    limit: Option<Duration>,
    context: &Context,
    body: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(limit) = limit else { return body() };
    let limit = if context.emulated() { limit * EMULATED } else { limit };
    let worker = thread::current().id();
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let late = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if late {
                kill_daemons_of(worker);
            }
            late
        });
        let outcome = body();
        drop(done);
        let late = watch.join().unwrap_or(false);
        let said = outcome.as_ref().err().map(|failure| format!(": {failure}")).unwrap_or_default();
        crate::require!(
            !late,
            "it hangs: not done within {} s, when the FUSE daemon was killed to free it{said}",
            limit.as_secs()
        );
        outcome
    })
}
