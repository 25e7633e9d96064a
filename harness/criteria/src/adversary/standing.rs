//! What a home holds: room on the mount, and memory.

use std::fs;
use std::time::Duration;

use homes::Mounted;
use homes::kernel::{kernel_memory_kib, live_allocations};
use machine::failure::{Failure, WithContext};
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use vexfs_uapi::Home;

/// What is held at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Bytes in use, by statfs(2).
    pub used: u64,
    /// Inodes in use, by statfs(2).
    pub inodes: u64,
    /// KiB that the home holds: resident in the daemon, or of the kernel's own in the guest.
    pub memory_kib: u64,
    /// The daemon's threads.
    pub threads: u64,
    /// Allocations of the module's engine.
    pub live: u64,
}

impl Standing {
    /// What `mounted` holds now; the mount is asked, too, and may not answer.
    pub fn now(mounted: &Mounted) -> Result<Standing, Failure> {
        let stat = statvfs(mounted.path()).context("statfs")?;
        let live = if mounted.home() == Home::Kernel {
            live_allocations()?.unwrap_or_default()
        } else {
            0
        };
        Ok(Standing {
            used: (stat.blocks() - stat.blocks_free()) * stat.fragment_size(),
            inodes: stat.files() - stat.files_free(),
            live,
            ..Standing::of_memory(mounted)?
        })
    }

    /// Memory and threads alone, for which nobody has to answer.
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

    /// Processor time that a daemon has had; a module works at its callers' expense.
    pub fn worked(mounted: &Mounted) -> Duration {
        match mounted {
            Mounted::Fuse(mount) => mount.pid().map(processor_time).unwrap_or_default(),
            Mounted::Kernel(..) => Duration::ZERO,
        }
    }

    /// The larger of each.
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

/// Processor time of a process, by proc_pid_stat(5); none of one that is not there.
pub fn processor_time(pid: u32) -> Duration {
    processor_time_of(&format!("/proc/{pid}"))
}

/// Processor time of a process or a thread, by its directory in /proc.
pub fn processor_time_of(directory: &str) -> Duration {
    /// Of USER_HZ, which is 100 everywhere.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("{directory}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    // utime and stime are fields 14 and 15; behind the name the third is the first.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}
