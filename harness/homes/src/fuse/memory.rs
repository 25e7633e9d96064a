//! A daemon that allocates without end is killed, and the trial says so; the machine and the trials
//! beside it survive.
//!
//! Its memory is checked periodically. A limit on the address space (RLIMIT_AS) would refuse a
//! healthy daemon in Go or Java, which reserves far more than it uses. A cgroup needs a writable
//! hierarchy, which users and containers often lack, and its SIGKILL gives no reason. Some memory
//! no check finds (memory that nobody maps, or that of a helper in another process group); the
//! kernel's OOM killer then kills the daemon first, and not the process that runs the trials.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use machine::child::members;
use nix::unistd::Pid;

/// How often memory is checked: in a tenth of a second, a process can fill some 300 MB.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// The most memory that a daemon may hold. Trials ask for mounts of 256 MiB.
const MOST: u64 = 4 << 30;
/// The process group is examined only if the machine has lost this much memory since the last time.
const NOTABLE: u64 = 256 << 20;

/// How much memory a daemon held when it was killed for that.
#[derive(Debug)]
pub(super) struct Held {
    too_much: AtomicU64,
    /// How much memory the machine had available at the last examination.
    available: AtomicU64,
}

impl Default for Held {
    fn default() -> Held {
        Held { too_much: AtomicU64::new(0), available: AtomicU64::new(u64::MAX) }
    }
}

impl Held {
    /// Checks the daemon `pid` and its process group.
    pub(super) fn is_too_much(&self, pid: u32) -> bool {
        let mut holds = Holds::of(pid);
        let available = of_machine("MemAvailable:");
        // The first check examines the group as well.
        let before = self.available.load(Ordering::Relaxed);
        if holds.bytes() <= most() && available.saturating_add(NOTABLE) < before {
            self.available.store(available, Ordering::Relaxed);
            let group = members(Pid::from_raw(pid.cast_signed())).unwrap_or_default();
            let each = group.iter().map(|(pid, _)| Holds::of(pid.as_raw().unsigned_abs()));
            holds = each.fold(Holds::default(), Holds::and);
        }
        let too_much = holds.bytes() > most();
        if too_much {
            // Keep the largest value, because the daemon is killed again if it survives.
            let kept = self.too_much.load(Ordering::SeqCst).max(holds.bytes());
            self.too_much.store(kept, Ordering::SeqCst);
        }
        too_much
    }

    /// How it ended, if it was killed for its memory.
    pub(super) fn in_words(&self) -> Option<String> {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let held = self.too_much.load(Ordering::SeqCst);
        (held > 0).then(|| {
            format!(
                "was killed, for it held {:.1} GiB of memory (the most is {:.1} GiB: half of this \
                 machine's, and never more than 4 GiB)",
                gib(held),
                gib(most())
            )
        })
    }
}

/// The most memory that a daemon may hold on this machine.
fn most() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| match of_machine("MemTotal:") {
        // The machine's memory is unknown.
        0 => MOST,
        all => MOST.min(all / 2),
    })
}

/// Memory that is not backed by files.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Holds {
    own: u64,
    /// Counted once, because all processes of a group may map the same memory.
    shared: u64,
}

impl Holds {
    fn of(pid: u32) -> Holds {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let own = bytes_of(&status, "RssAnon:") + bytes_of(&status, "VmSwap:");
        Holds { own, shared: bytes_of(&status, "RssShmem:") }
    }

    fn and(self, other: Holds) -> Holds {
        Holds { own: self.own + other.own, shared: self.shared.max(other.shared) }
    }

    fn bytes(self) -> u64 {
        self.own + self.shared
    }
}

/// The value of a line of /proc/meminfo, in bytes.
fn of_machine(name: &str) -> u64 {
    bytes_of(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), name)
}

/// The value after `name` in a file of /proc, which counts in kB, as bytes; 0 if there is none.
fn bytes_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

/// Makes the OOM killer choose the process `pid`, and processes that it starts, before any other.
pub(super) fn is_the_first_to_go(pid: u32) {
    // If the process has ended, there is no such file.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), "1000");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_memory_is_not_counted() {
        let before = Holds::of(std::process::id());
        // A terabyte of address space, which some runtimes reserve when they start.
        let reserved = unsafe {
            // SAFETY: a new mapping, which nobody accesses.
            libc::mmap(
                std::ptr::null_mut(),
                1 << 40,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(reserved, libc::MAP_FAILED);
        let held = vec![1_u8; 64 << 20];
        let after = Holds::of(std::process::id());
        let more = after.bytes() - before.bytes();
        assert!(((60 << 20)..(1 << 30)).contains(&more), "{more}, of {}", held.len());
        // SAFETY: this is the mapping made above.
        unsafe { libc::munmap(reserved, 1 << 40) };
    }

    #[test]
    fn shared_memory_of_a_group_counts_once() {
        let one = Holds { own: 3, shared: 5 };
        assert_eq!(one.and(Holds { own: 4, shared: 2 }).bytes(), 12);
        let text = "VmPeak:\t 9 kB\nRssAnon:\t    2048 kB\nRssShmem:\t 4 kB\n";
        assert_eq!(bytes_of(text, "RssAnon:"), 2 << 20);
        assert_eq!(bytes_of(text, "VmSwap:"), 0);
        assert!(most() > 0 && most() <= MOST);
    }

    #[test]
    fn a_process_that_uses_little_memory_is_not_reported() {
        let held = Held::default();
        assert!(!held.is_too_much(std::process::id()));
        assert_eq!(held.in_words(), None);
        held.too_much.store(5 << 30, Ordering::SeqCst);
        let said = held.in_words().unwrap_or_default();
        assert!(said.starts_with("was killed, for it held 5.0 GiB of memory"), "{said}");
    }
}
