//! What a home holds: space on the mount, and memory.

use std::fs;
use std::time::Duration;

use homes::Mounted;
use homes::kernel::{kernel_memory_kib, live_allocations};
use machine::failure::{Failure, WithContext};
use nix::sys::statvfs::{Statvfs, statvfs};
use serde::Serialize;
use vexfs_uapi::Home;

/// What a home holds at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Bytes in use, by statfs(2).
    pub used: u64,
    /// Inodes in use, by statfs(2).
    pub inodes: u64,
    /// Memory in KiB: the daemon's resident set, or the kernel's own memory in the guest.
    pub memory_kib: u64,
    /// The daemon's threads.
    pub threads: u64,
    /// Live allocations of the module's engine.
    pub live: u64,
}

impl Standing {
    /// Reads all of it. This calls statfs(2) on the mount, which may not answer.
    pub fn now(mounted: &Mounted) -> Result<Standing, Failure> {
        let stat = statvfs(mounted.path()).context("statfs")?;
        let live = if mounted.home() == Home::Kernel {
            live_allocations()?.unwrap_or_default()
        } else {
            0
        };
        Ok(Standing {
            used: used_bytes(&stat),
            inodes: stat.files().saturating_sub(stat.files_free()),
            live,
            ..Standing::of_memory(mounted)?
        })
    }

    /// Reads memory and threads alone, which needs no answer from the mount.
    pub fn of_memory(mounted: &Mounted) -> Result<Standing, Failure> {
        let (memory_kib, threads) = match mounted {
            Mounted::Kernel(..) => (u64::try_from(kernel_memory_kib()?)?, 0),
            Mounted::Fuse(mount) => {
                let Some(pid) = mount.pid() else { machine::fail!("the FUSE daemon has ended") };
                let path = format!("/proc/{pid}/status");
                let status = fs::read_to_string(&path).context(&path)?;
                let field = |name: &str| -> u64 {
                    let line = status.lines().find_map(|line| line.strip_prefix(name));
                    let word = line.and_then(|rest| rest.split_whitespace().next());
                    word.and_then(|word| word.parse().ok()).unwrap_or_default()
                };
                (field("VmRSS:"), field("Threads:"))
            }
        };
        Ok(Standing { memory_kib, threads, ..Standing::default() })
    }

    /// Processor time that the daemon has used; zero for a module, which works in its callers'
    /// time.
    pub fn worked(mounted: &Mounted) -> Duration {
        match mounted {
            Mounted::Fuse(mount) => mount.pid().map(processor_time).unwrap_or_default(),
            Mounted::Kernel(..) => Duration::ZERO,
        }
    }

    /// The larger value of each field.
    #[must_use]
    pub fn or_more(self, other: Standing) -> Standing {
        Standing {
            used: self.used.max(other.used),
            inodes: self.inodes.max(other.inodes),
            memory_kib: self.memory_kib.max(other.memory_kib),
            threads: self.threads.max(other.threads),
            live: self.live.max(other.live),
        }
    }
}

/// Bytes in use on a mount; zero if it has more free than there are.
pub fn used_bytes(stat: &Statvfs) -> u64 {
    stat.blocks().saturating_sub(stat.blocks_free()).saturating_mul(stat.fragment_size())
}

/// Processor time of a process, from proc_pid_stat(5); zero if it does not exist.
pub fn processor_time(pid: u32) -> Duration {
    processor_time_of(&format!("/proc/{pid}"))
}

/// Processor time of a process or a thread, given its directory in /proc.
pub fn processor_time_of(directory: &str) -> Duration {
    /// One tick of USER_HZ, which is 100 everywhere.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("{directory}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    // utime and stime are fields 14 and 15. The split begins behind the name, at field 3.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}
