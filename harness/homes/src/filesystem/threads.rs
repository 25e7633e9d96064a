//! Runs work in several threads, which end before their caller continues. Their failures and panics
//! are passed on to the caller.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use machine::failure::Failure;

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Runs `work` in a thread of its own.
pub fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| join(scope.spawn(work)))
}

/// Runs `work` in `count` threads, each of which gets its number.
pub(super) fn in_threads<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().map(join).collect()
    })
}

/// Runs `work` in this thread while another thread runs `other`. The flag that `work` gets is set
/// as long as `other` runs.
pub(super) fn beside<A: Send, B>(
    other: impl FnOnce() -> Result<A, Failure> + Send,
    work: impl FnOnce(&AtomicBool) -> Result<B, Failure>,
) -> Result<(A, B), Failure> {
    /// Clears the flag even if `other` panics, because `work` may wait for it.
    struct BusyGuard<'a>(&'a AtomicBool);
    impl Drop for BusyGuard<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }
    let busy = AtomicBool::new(true);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let _done = BusyGuard(&busy);
            other()
        });
        let done = work(&busy);
        Ok((join(other)?, done?))
    })
}
