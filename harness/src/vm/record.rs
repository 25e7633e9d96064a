//! Writes down how a guest was launched and how it ended.

use std::fs;
use std::io;
use std::path::Path;

use evidence::files::LAUNCH_FILE;
use evidence::guest::{GuestEnded, GuestFault, GuestLaunch};
use evidence::place::Place;
use evidence::{Event, Writer};

use super::{GuestOutcome, VmError};

/// Writes the launch down for the guest, and for good.
pub(super) fn write(launch: &GuestLaunch, evidence: &Path) -> Result<(), VmError> {
    let path = evidence.join(LAUNCH_FILE);
    let write = serde_json::to_vec_pretty(launch)
        .map_err(io::Error::other)
        .and_then(|bytes| fs::write(&path, bytes));
    write.map_err(VmError::evidence(path))?;
    // The file is the guest's, and the next guest's; the record stays.
    Writer::open(evidence, Place::Host)
        .and_then(|host| host.write(Event::GuestLaunched(Box::new(launch.clone()))))
        .map_err(|error| {
            let (path, source) = error.into_parts();
            VmError::Evidence { path, source }
        })
}

impl GuestOutcome {
    /// The record of its end.
    #[must_use]
    pub fn ended(&self) -> GuestEnded {
        let fault = self.end.fault();
        GuestEnded {
            how: self.end.to_string(),
            fault,
            code: self.end.code(),
            console_tail: if fault == GuestFault::None {
                vec![]
            } else {
                self.console_tail.clone()
            },
            trouble: self.findings.iter().map(|one| one.headline.clone()).collect(),
            boot_seconds: self.boot_seconds,
            first_output_seconds: self.first_output_seconds,
            total_seconds: self.total_seconds,
            accelerator: self.launch.accelerator.to_string(),
            evidence: self.evidence.clone(),
        }
    }
}
