//! How a guest ended, and what was observed of it.

use evidence::guest::{GuestEnd, GuestEnded, GuestFault, GuestLaunch};
use evidence::kernel_log::Finding;
use evidence::{EndOfTrail, exit};
use serde::Serialize;

/// How a guest ended, and what was observed of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuestOutcome {
    /// How it ended.
    pub end: GuestEnd,
    /// Whether Ctrl-C ended it, whatever its kernel had reported before.
    pub interrupted: bool,
    /// How it was launched.
    pub launch: GuestLaunch,
    /// Trouble that the kernel reported, in order.
    pub findings: Vec<Finding>,
    /// The last lines of the console.
    pub console_tail: Vec<String>,
    /// Files of the host that changed meanwhile.
    pub host_changes: Vec<String>,
    /// Type of the guest's root file system: `virtiofs`, or `9p`, which is slow.
    pub root_filesystem: Option<String>,
    /// Seconds from the start to the first sign of life.
    pub boot_seconds: Option<f64>,
    /// Seconds from the start to the command's first line.
    pub first_output_seconds: Option<f64>,
    /// Seconds from the start to the end.
    pub total_seconds: f64,
    /// Where its evidence ended.
    pub evidence: Option<EndOfTrail>,
}

impl GuestOutcome {
    /// The exit code for a program that ran the guest: that of its end, unless Ctrl-C ended it.
    pub fn exit_code(&self) -> u8 {
        if self.interrupted { exit::INTERRUPTED.code } else { self.end.exit_code() }
    }
    /// The record of its end.
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
            host_changes: self.host_changes.clone(),
            boot_seconds: self.boot_seconds,
            first_output_seconds: self.first_output_seconds,
            total_seconds: self.total_seconds,
            accelerator: self.launch.accelerator,
            evidence: self.evidence.clone(),
        }
    }
}
