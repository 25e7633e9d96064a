//! How much memory and how many CPUs the guest gets.

use std::fs;

use super::error::VmError;

/// What the guest gets if the machine has that much.
const WANTED_MIB: u64 = 8 * 1024;
const WANTED_CPUS: u64 = 4;

/// With less memory than this, cargo, Python and the competitors do not fit into the guest.
const NEEDED_MIB: u64 = 2 * 1024;

/// Memory and CPUs of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resources {
    /// MiB of memory.
    pub memory_mib: u64,
    /// Virtual CPUs.
    pub cpus: u64,
}

/// The resources of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostResources {
    /// MiB of memory, used or not.
    pub total_mib: u64,
    /// MiB that can be allocated without swapping.
    pub available_mib: u64,
    /// CPUs that this process may use.
    pub cpus: u64,
}

impl HostResources {
    /// Looks at this machine.
    pub(super) fn this_one() -> Result<Self, VmError> {
        let meminfo = fs::read_to_string("/proc/meminfo")
            .map_err(VmError::system("/proc/meminfo cannot be read; mount /proc"))?;
        let mib = |key: &str| {
            meminfo
                .lines()
                .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
                .map_or(0, |kib: u64| kib / 1024)
        };
        Ok(HostResources {
            total_mib: mib("MemTotal:"),
            available_mib: mib("MemAvailable:"),
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        })
    }

    /// Decides what the guest gets: what was asked for, or else the default, reduced if the machine
    /// has less. By default a quarter of the available memory stays with the host.
    pub(super) fn share(
        self,
        memory_mib: Option<u64>,
        cpus: Option<u32>,
    ) -> Result<Resources, VmError> {
        let memory_mib = match memory_mib {
            Some(asked) if asked > self.total_mib => {
                return Err(VmError::TooMuchMemory { asked, present: self.total_mib });
            }
            Some(asked) => asked,
            None => WANTED_MIB.min(self.available_mib / 4 * 3),
        };
        if memory_mib < NEEDED_MIB {
            return Err(VmError::TooLittleMemory { given: memory_mib, needed: NEEDED_MIB });
        }
        // More CPUs than the machine has are slow, but good for finding races.
        let cpus = cpus.map_or(WANTED_CPUS.min(self.cpus), |asked| u64::from(asked.max(1)));
        Ok(Resources { memory_mib, cpus })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: HostResources = HostResources { total_mib: 6000, available_mib: 4000, cpus: 2 };
    const LARGE: HostResources =
        HostResources { total_mib: 64_000, available_mib: 60_000, cpus: 16 };

    #[test]
    fn defaults_shrink_with_the_machine() {
        let share = |machine: HostResources| machine.share(None, None).unwrap();
        assert_eq!(share(LARGE), Resources { memory_mib: 8192, cpus: 4 });
        assert_eq!(share(SMALL), Resources { memory_mib: 3000, cpus: 2 });
    }

    #[test]
    fn both_are_settable_within_the_machine() {
        let asked = LARGE.share(Some(16_000), Some(8)).unwrap();
        assert_eq!(asked, Resources { memory_mib: 16_000, cpus: 8 });
        assert_eq!(SMALL.share(None, Some(3)).unwrap().cpus, 3);
        assert!(matches!(SMALL.share(Some(7000), None), Err(VmError::TooMuchMemory { .. })));
    }

    #[test]
    fn a_guest_needs_memory() {
        let full = HostResources { available_mib: 2000, ..SMALL };
        let message = full.share(None, None).unwrap_err().to_string();
        assert!(message.contains("1500 MiB"), "{message}");
        assert!(matches!(LARGE.share(Some(512), None), Err(VmError::TooLittleMemory { .. })));
    }
}
