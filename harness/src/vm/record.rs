//! How a guest was launched and how it ended, as the evidence holds it.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Accelerator, GuestEnd, GuestOutcome, Qemu, VmError};
use crate::evidence::{self, Event, GuestFault, Writer};
use crate::place::Place;

/// How the last guest was launched, in the evidence directory; the guest reads its clock there.
pub const LAUNCH_FILE: &str = "guest-launch.json";

/// How the guest was launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestLaunch {
    /// What executes it.
    pub accelerator: Accelerator,
    /// Why that.
    pub accelerator_reason: String,
    /// Whether its time counts its instructions.
    pub instruction_clock: bool,
    /// QEMU and its version.
    pub qemu: Qemu,
    /// `uname -r` of its kernel.
    pub kernel_release: String,
    /// MiB of memory.
    pub memory_mib: u64,
    /// CPUs.
    pub cpus: u64,
    /// The command line of virtme-ng, program first.
    pub command_line: Vec<String>,
}

impl GuestLaunch {
    /// Reads the launch back from the evidence directory, e.g. in the guest.
    ///
    /// # Errors
    /// It is not there or not whole.
    pub fn read(evidence: &Path) -> Result<Self, VmError> {
        let path = evidence.join(LAUNCH_FILE);
        let read = fs::read(&path)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::other));
        read.map_err(VmError::evidence(path))
    }

    /// One of a machine that is the same everywhere.
    #[cfg(test)]
    pub(crate) fn made_up(accelerator: Accelerator, reason: &str) -> Self {
        GuestLaunch {
            accelerator,
            accelerator_reason: reason.into(),
            instruction_clock: false,
            qemu: Qemu { path: "/usr/bin/qemu-system-x86_64".into(), version: "10.0.2".into() },
            kernel_release: "6.12.117+deb12-amd64".into(),
            memory_mib: 8192,
            cpus: 2,
            command_line: vec!["virtme-run".into()],
        }
    }

    /// Writes it down for the guest, and for good.
    pub(super) fn write(&self, evidence: &Path) -> Result<(), VmError> {
        let path = evidence.join(LAUNCH_FILE);
        let write = serde_json::to_vec_pretty(self)
            .map_err(io::Error::other)
            .and_then(|bytes| fs::write(&path, bytes));
        write.map_err(VmError::evidence(path))?;
        // The file is the guest's, and the next guest's; the record stays.
        Writer::open(evidence, Place::Host)
            .and_then(|host| host.write(Event::GuestLaunched(Box::new(self.clone()))))
            .map_err(|error| {
                let (path, source) = error.into_parts();
                VmError::Evidence { path, source }
            })
    }
}

impl From<&GuestOutcome> for evidence::GuestEnd {
    fn from(outcome: &GuestOutcome) -> Self {
        let (code, fault) = match &outcome.end {
            GuestEnd::Exited(code) => (Some(*code), GuestFault::None),
            GuestEnd::Panicked(_)
            | GuestEnd::Oopsed(_)
            | GuestEnd::LockedUp(_)
            | GuestEnd::Silent(_)
            | GuestEnd::Died => (None, GuestFault::Kernel),
            GuestEnd::TimedOut(_)
            | GuestEnd::BootFailed(_)
            | GuestEnd::SetupFailed(_)
            | GuestEnd::Interrupted => (None, GuestFault::Other),
        };
        evidence::GuestEnd {
            how: outcome.end.to_string(),
            fault,
            code,
            console_tail: if fault == GuestFault::None {
                vec![]
            } else {
                outcome.console_tail.clone()
            },
            trouble: outcome.findings.iter().map(|one| one.headline.clone()).collect(),
            boot_seconds: outcome.boot_seconds,
            first_output_seconds: outcome.first_output_seconds,
            total_seconds: outcome.total_seconds,
            accelerator: outcome.launch.accelerator.to_string(),
            evidence: outcome.evidence.clone(),
        }
    }
}
