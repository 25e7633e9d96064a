//! A guest's end as the evidence holds it.

use super::{GuestEnd, GuestOutcome};
use crate::evidence::{self, GuestFault};

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
            boot_seconds: outcome.boot_seconds,
            first_output_seconds: outcome.first_output_seconds,
            total_seconds: outcome.total_seconds,
            accelerator: outcome.launch.accelerator.to_string(),
            evidence: outcome.evidence.clone(),
        }
    }
}
