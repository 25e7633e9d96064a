//! How much other processes disturbed a round of measurement.

use std::fs;
use std::time::{Duration, Instant};

use evidence::noise::Noise;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

/// The counters at the beginning of a round.
pub struct Sampler {
    started: Instant,
    waiting: Option<Duration>,
    stolen: Option<Duration>,
}

impl Sampler {
    /// Starts counting.
    pub fn start() -> Self {
        Sampler { waiting: waiting(), stolen: stolen(), started: Instant::now() }
    }

    /// The noise since the start.
    pub fn noise(&self) -> Noise {
        let wall_us = microseconds(self.started.elapsed());
        let since = |now: Option<Duration>, then: Option<Duration>| {
            Some(microseconds(now?.saturating_sub(then?)))
        };
        Noise {
            wall_us,
            waiting_us: since(waiting(), self.waiting),
            stolen_us: since(stolen(), self.stolen),
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn waiting() -> Option<Duration> {
    parse_pressure(&fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// `total` in the line `some` of a pressure file, see Documentation/accounting/psi.rst.
fn parse_pressure(text: &str) -> Option<Duration> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some.split_whitespace().find_map(|word| word.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

fn stolen() -> Option<Duration> {
    parse_steal(&fs::read_to_string("/proc/stat").ok()?)
}

/// The eighth number after `cpu` in /proc/stat, see proc_stat(5), in ticks of 1/100 s.
fn parse_steal(text: &str) -> Option<Duration> {
    let steal = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?;
    steal.parse::<u64>().ok().map(|ticks| Duration::from_millis(10 * ticks))
}

/// Pins the calling thread to its current processor until dropped. Children inherit the affinity,
/// so start them before this.
pub struct Pinned(Option<CpuSet>);

impl Pinned {
    /// Pins the calling thread; does nothing if that is not allowed.
    pub fn here() -> Self {
        let thread = Pid::from_raw(0);
        let before = sched_getaffinity(thread).ok();
        let mut one = CpuSet::new();
        let pinned = sched_getcpu()
            .and_then(|cpu| one.set(cpu))
            .and_then(|()| sched_setaffinity(thread, &one));
        Pinned(before.filter(|_| pinned.is_ok()))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            // Best effort: this affinity was allowed before.
            let _ = sched_setaffinity(Pid::from_raw(0), &before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counters_are_read() {
        let pressure = "some avg10=1.00 avg60=0.50 avg300=0.10 total=1234567\n\
                        full avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(parse_pressure(pressure), Some(Duration::from_micros(1_234_567)));
        assert_eq!(parse_pressure(""), None);
        let stat = "cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse_steal(stat), Some(Duration::from_millis(2_500)));
        assert!(stolen().is_some(), "/proc/stat of this machine");
    }

    #[test]
    fn a_pinned_thread_is_released() {
        let count = || {
            let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
            (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).count()
        };
        let before = count();
        let pinned = Pinned::here();
        assert_eq!(count(), 1);
        drop(pinned);
        assert_eq!(count(), before);
    }
}
