//! How long anybody may have to wait.
//!
//! A bound does not tell a busy machine from an idle one by itself, so it follows how late the
//! machine wakes a thread that wants nothing of the home, and how long the same requests take when
//! nobody else asks. What is far beyond both waits for the adversary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Granted to any request: hundreds of times what the slowest takes on a quiet machine.
const GRANTED: Duration = Duration::from_secs(2);
/// Of the time that it takes, a thread may spend so much on the watchers' requests.
const FOR_OTHERS: u32 = 10;
/// As many times as much on an emulated CPU.
const EMULATED: u32 = 5;
/// A request is handed from thread to thread some times, and each is as late as the machine is.
const HANDS: u32 = 20;
/// A request competes with those of the adversary for the home's processors.
const COMPETITORS: u32 = 50;
/// Lateness beyond this is no busy machine.
const LATEST: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(5);

/// The bound, which grows with what is seen of the machine.
#[derive(Debug, Clone)]
pub struct ReplyBound {
    granted: Duration,
    /// The slowest request when nobody else asks.
    idle: Duration,
    /// The greatest delay of the ticker, nanoseconds.
    lateness: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl ReplyBound {
    /// Begins to look at the machine.
    pub fn start(emulated: bool) -> ReplyBound {
        let granted = if emulated { GRANTED * EMULATED } else { GRANTED };
        let bound = ReplyBound {
            granted,
            idle: Duration::ZERO,
            lateness: Arc::default(),
            stop: Arc::default(),
        };
        let (lateness, stop) = (Arc::clone(&bound.lateness), Arc::clone(&bound.stop));
        thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let asleep = Instant::now();
                thread::sleep(TICK);
                let late = asleep.elapsed().saturating_sub(TICK).min(LATEST);
                lateness.fetch_max(late.as_nanos() as u64, Ordering::SeqCst);
            }
        });
        bound
    }

    /// The same machine's, for requests that take `idle` when nobody else asks.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> ReplyBound {
        self.idle = idle;
        self
    }

    /// By how much the machine has been late.
    pub fn lateness(&self) -> Duration {
        Duration::from_nanos(self.lateness.load(Ordering::SeqCst))
    }

    /// How long a request may take.
    pub fn now(&self) -> Duration {
        let competing = (self.idle * COMPETITORS).min(self.granted);
        self.granted + competing + self.lateness() * HANDS
    }

    /// How much a thread may work, within `passed`, for a request whose sender has been killed. This
    /// does not grow with what the machine does besides: a second, where a home that looks at signals
    /// ends in milliseconds.
    pub fn worked(&self, passed: Duration) -> Duration {
        self.granted / 2 + passed / FOR_OTHERS
    }

    /// How long the adversary is left at what does not end: longer than any request may take.
    pub fn longer(&self) -> Duration {
        self.now() * 3 / 2
    }

    /// Ends the look at the machine.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_follows_the_machine_and_stays_below_tens_of_seconds() {
        let bound = ReplyBound::start(false).with_idle(Duration::from_millis(3));
        bound.stop();
        assert!(bound.now() >= GRANTED + Duration::from_millis(150));
        bound.lateness.store(u64::MAX, Ordering::SeqCst);
        let late = ReplyBound { lateness: Arc::new(AtomicU64::new(100_000_000)), ..bound.clone() };
        assert_eq!(late.now(), GRANTED + Duration::from_millis(2_150));
        let slow = late.with_idle(Duration::from_secs(9));
        assert_eq!(slow.now(), 2 * GRANTED + Duration::from_secs(2));
        assert_eq!(slow.worked(Duration::from_secs(5)), Duration::from_millis(1_500));
        assert!(HANDS * LATEST + 2 * GRANTED < Duration::from_secs(15));
    }
}
