//! How long a request of another user may take.
//!
//! A fixed bound cannot tell a busy machine from a home that lets others wait. So the bound grows
//! with the delay at which the machine wakes a thread that has nothing to do with the home, and
//! with the time that the same requests take when nobody else asks. A request far beyond both waits
//! for the adversary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Granted to any request: hundreds of times what the slowest takes on a quiet machine.
const GRANTED: Duration = Duration::from_secs(2);
/// A thread of the home may spend this fraction (1/10) of the time on the watchers' requests.
const FOR_OTHERS: u32 = 10;
/// Factor on an emulated CPU.
const EMULATED: u32 = 5;
/// A request is handed from thread to thread a few times, and each hand-over may be as late as the
/// machine is.
const HANDS: u32 = 20;
/// The adversary's requests compete with it for the home's processors.
const COMPETITORS: u32 = 50;
/// A busy machine is not later than this.
const LATEST: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(5);

/// The bound, which grows with the delays seen on the machine.
#[derive(Debug, Clone)]
pub struct ReplyBound {
    granted: Duration,
    /// The slowest request of the watchers when nobody else asks.
    idle: Duration,
    /// The greatest delay of the ticker thread, nanoseconds.
    lateness: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl ReplyBound {
    /// Starts measuring the machine's delays.
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

    /// The bound for requests that take `idle` when nobody else asks.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> ReplyBound {
        self.idle = idle;
        self
    }

    /// The greatest delay seen so far.
    pub fn lateness(&self) -> Duration {
        Duration::from_nanos(self.lateness.load(Ordering::SeqCst))
    }

    /// How long a request may take.
    pub fn now(&self) -> Duration {
        let competing = (self.idle * COMPETITORS).min(self.granted);
        self.granted + competing + self.lateness() * HANDS
    }

    /// How much processor time a thread of the home may use, within `passed`, for a request whose
    /// sender has been killed. It is about a second, where a home that checks for signals stops in
    /// milliseconds. It does not grow with the machine's delays, because processor time does not.
    pub fn worked(&self, passed: Duration) -> Duration {
        self.granted / 2 + passed / FOR_OTHERS
    }

    /// How long the adversary goes on with an act that does not end: longer than any request may
    /// take.
    pub fn longer(&self) -> Duration {
        self.now() * 3 / 2
    }

    /// Stops measuring the machine's delays.
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
