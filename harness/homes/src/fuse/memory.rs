//! A daemon that allocates without end is ended, and said to: the machine lives, and so do the trials
//! beside it.
//!
//! What it holds is looked at. A limit of the address space (RLIMIT_AS) would refuse a healthy daemon
//! in Go or Java, which reserves far more than it uses; a cgroup needs a hierarchy that may be
//! written to, which users and containers often have not, and its SIGKILL says nothing. What no look
//! finds (memory that is mapped by nobody, a helper of another process group) the kernel's OOM killer
//! kills the daemon first, and not the process that runs the trials.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use machine::child::members;
use nix::unistd::Pid;

/// How often it is looked: a tenth of a second is enough to fill some 300 MB.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// The most that a daemon may hold. Trials ask for mounts of 256 MiB.
const MOST: u64 = 4 << 30;
/// The group is searched for only where the machine has lost as much since it was last looked at.
const NOTABLE: u64 = 256 << 20;

/// What a daemon held of memory when it was ended for it.
#[derive(Debug)]
pub(super) struct Held {
    too_much: AtomicU64,
    /// What the machine had to give at the last search.
    available: AtomicU64,
}

impl Default for Held {
    fn default() -> Held {
        Held { too_much: AtomicU64::new(0), available: AtomicU64::new(u64::MAX) }
    }
}

impl Held {
    /// Looks at the daemon `pid` and its process group.
    pub(super) fn is_too_much(&self, pid: u32) -> bool {
        let mut holds = Holds::of(pid);
        let available = of_machine("MemAvailable:");
        // The first look finds the group as well.
        let before = self.available.load(Ordering::Relaxed);
        if holds.bytes() <= most() && available.saturating_add(NOTABLE) < before {
            self.available.store(available, Ordering::Relaxed);
            let group = members(Pid::from_raw(pid.cast_signed())).unwrap_or_default();
            let each = group.iter().map(|(pid, _)| Holds::of(pid.as_raw().unsigned_abs()));
            holds = each.fold(Holds::default(), Holds::and);
        }
        let too_much = holds.bytes() > most();
        if too_much {
            // What it held first: it is ended once more if it lives on.
            let kept = self.too_much.load(Ordering::SeqCst).max(holds.bytes());
            self.too_much.store(kept, Ordering::SeqCst);
        }
        too_much
    }

    /// How it ended, if that is what it was ended for.
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

/// What one may hold here.
fn most() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| match of_machine("MemTotal:") {
        // Unknown.
        0 => MOST,
        all => MOST.min(all / 2),
    })
}

/// Memory that no file gives back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Holds {
    own: u64,
    /// Counted once: all processes of a group may map the same.
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

/// A line of /proc/meminfo, bytes.
fn of_machine(name: &str) -> u64 {
    bytes_of(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), name)
}

/// What follows `name` in a file of /proc, which counts in kB; 0 where there is nothing.
fn bytes_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

/// Has the OOM killer take the process `pid`, and what it starts, before anything else.
pub(super) fn is_the_first_to_go(pid: u32) {
    // One that has ended has no such file.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), "1000");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_not_held() {
        let before = Holds::of(std::process::id());
        // A terabyte of address space, as some runtimes take at their start.
        let reserved = unsafe {
            // SAFETY: a new mapping, which nobody touches.
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
        // SAFETY: it is the mapping from above.
        unsafe { libc::munmap(reserved, 1 << 40) };
    }

    #[test]
    fn a_group_shares_what_it_shares() {
        let one = Holds { own: 3, shared: 5 };
        assert_eq!(one.and(Holds { own: 4, shared: 2 }).bytes(), 12);
        let text = "VmPeak:\t 9 kB\nRssAnon:\t    2048 kB\nRssShmem:\t 4 kB\n";
        assert_eq!(bytes_of(text, "RssAnon:"), 2 << 20);
        assert_eq!(bytes_of(text, "VmSwap:"), 0);
        assert!(most() > 0 && most() <= MOST);
    }

    #[test]
    fn nobody_is_accused_who_holds_little() {
        let held = Held::default();
        assert!(!held.is_too_much(std::process::id()));
        assert_eq!(held.in_words(), None);
        held.too_much.store(5 << 30, Ordering::SeqCst);
        let said = held.in_words().unwrap_or_default();
        assert!(said.starts_with("was killed, for it held 5.0 GiB of memory"), "{said}");
    }
}
