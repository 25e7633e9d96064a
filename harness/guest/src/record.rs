//! Records how a guest was launched.

use std::fs;
use std::io;
use std::path::Path;

use evidence::files::LAUNCH_FILE;
use evidence::guest::GuestLaunch;
use evidence::place::Place;
use evidence::{Event, Writer};

use super::error::VmError;

/// Writes a file for the guest to read, and a record that stays in the evidence.
pub(super) fn write(launch: &GuestLaunch, evidence: &Path) -> Result<(), VmError> {
    let path = evidence.join(LAUNCH_FILE);
    let write = serde_json::to_vec_pretty(launch)
        .map_err(io::Error::other)
        .and_then(|bytes| fs::write(&path, bytes));
    write.map_err(VmError::evidence(path))?;
    // The next guest's launch overwrites the file, but the record stays.
    Writer::open(evidence, Place::Host)
        .and_then(|host| host.write(Event::GuestLaunched(Box::new(launch.clone()))))
        .map_err(|error| {
            let (path, source) = error.into_parts();
            VmError::Evidence { path, source }
        })
}
