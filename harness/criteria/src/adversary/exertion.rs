//! How long a home goes on working for a request whose sender is dead. It is measured in processor
//! time, which does not grow on a busy machine.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use super::standing::processor_time_of;

/// Processor time of each thread of some processes at one moment.
pub struct Exertion {
    processes: Vec<u32>,
    threads: HashMap<String, Duration>,
}

impl Exertion {
    /// Reads the threads of `processes` now.
    pub fn now(processes: Vec<u32>) -> Exertion {
        let threads = threads(&processes);
        Exertion { processes, threads }
    }

    /// The most that any one thread has worked since then; for a new thread, since it began. One
    /// request is served by one thread.
    pub fn most_since(&self) -> Duration {
        let since = |(thread, time): (String, Duration)| {
            time.saturating_sub(self.threads.get(&thread).copied().unwrap_or_default())
        };
        threads(&self.processes).into_iter().map(since).max().unwrap_or_default()
    }
}

/// Threads by their directory in /proc. A process that has ended has none.
fn threads(processes: &[u32]) -> HashMap<String, Duration> {
    let tasks = |process: &u32| fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let all = processes.iter().flat_map(tasks).flatten();
    all.map(|task| {
        let path = task.path().display().to_string();
        let time = processor_time_of(&path);
        (path, time)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_busiest_thread_counts_and_idle_ones_do_not() {
        let (busy, deadline) =
            (Duration::from_millis(200), Instant::now() + Duration::from_secs(60));
        let before = Exertion::now(vec![std::process::id()]);
        assert!(before.most_since() < busy);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let mut rounds = 0_u64;
                while before.most_since() < busy && Instant::now() < deadline {
                    (0..100_000).for_each(|round| rounds = black_box(rounds ^ round));
                }
                // Read this before the thread ends and its entry in /proc goes.
                before.most_since()
            });
            let worked = worker.join().unwrap();
            assert!(worked >= busy || Instant::now() >= deadline, "{worked:?}");
        });
        assert!(Exertion::now(vec![u32::MAX]).most_since().is_zero());
    }
}
