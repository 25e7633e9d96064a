//! Several things at once: threads that end before their caller goes on, and whose failures and
//! panics are the caller's.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use machine::failure::Failure;

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Does `work` in a thread of its own.
pub fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| join(scope.spawn(work)))
}

/// Does `work` in `count` threads, which are numbered.
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

/// Does `work` in this thread while another does `other`; `work` is given whether it still does.
pub(super) fn beside<A: Send, B>(
    other: impl FnOnce() -> Result<A, Failure> + Send,
    work: impl FnOnce(&AtomicBool) -> Result<B, Failure>,
) -> Result<(A, B), Failure> {
    /// Says so even where `other` panics: `work` may wait for it.
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
