//! How a guest was launched and how it ended.
//!
//! [`GuestEnd`] is the one list of the ways in which a guest can end. The launcher decides which it
//! was, and writes it down as [`GuestEnded`].

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::{self, Clock};
use crate::exit::{self, Exit};
use crate::files::LAUNCH_FILE;
use crate::schema::SHA256_HEX;

/// The kernel series that a guest boots unless another is named.
pub const DEFAULT_SERIES: &str = "6.12";

/// Lines of the console's end that a record of a guest's end keeps.
pub const TAIL_LINES: usize = 40;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The CPU itself.
    Kvm,
    /// QEMU's translator; numbers from it are 'measured under emulation'.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        })
    }
}

/// A QEMU that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Qemu {
    /// The program.
    pub path: PathBuf,
    /// Its version, e.g. `10.0.2`.
    pub version: String,
}

/// How the guest was launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestLaunch {
    /// What executes it.
    pub accelerator: Accelerator,
    /// Why that.
    pub accelerator_reason: String,
    /// What its time counts.
    #[serde(alias = "instruction_clock", deserialize_with = "clock::of_launch")]
    #[schemars(with = "Clock")]
    pub clock: Clock,
    /// QEMU and its version.
    pub qemu: Qemu,
    /// `uname -r` of its kernel.
    pub kernel_release: String,
    /// MiB of memory.
    pub memory_mib: u64,
    /// Virtual CPUs.
    #[schemars(range(min = 1))]
    pub cpus: u64,
    /// The command line of virtme-ng, program first.
    pub command_line: Vec<String>,
}

impl GuestLaunch {
    /// Reads the launch back from the evidence directory, e.g. in the guest.
    ///
    /// # Errors
    /// It is not there or not whole.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let bytes = fs::read(dir.join(LAUNCH_FILE))?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", content = "detail", rename_all = "snake_case")]
pub enum GuestEnd {
    /// The command ran to its end; its exit status.
    Exited(u8),
    /// The kernel panicked; its words.
    Panicked(String),
    /// The kernel reported an oops or `BUG`; its words. Whatever the command made of it, nothing
    /// after it can be trusted.
    Oopsed(String),
    /// The kernel reported a lock-up, stall or hung task, and the command never ended.
    LockedUp(String),
    /// The command printed nothing for longer than its limit, seconds.
    Silent(u64),
    /// The command ran for longer than its limit, seconds.
    TimedOut(u64),
    /// The machine ended without a status of the command: powered off, or QEMU is gone.
    Died,
    /// It never came up; why.
    BootFailed(String),
    /// It came up, but lacks what the launcher promises the command; what.
    SetupFailed(String),
    /// Ctrl-C.
    Interrupted,
}

impl GuestEnd {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> GuestFault {
        match self {
            GuestEnd::Exited(_) => GuestFault::None,
            GuestEnd::Panicked(_)
            | GuestEnd::Oopsed(_)
            | GuestEnd::LockedUp(_)
            | GuestEnd::Silent(_)
            | GuestEnd::Died => GuestFault::Kernel,
            GuestEnd::TimedOut(_)
            | GuestEnd::BootFailed(_)
            | GuestEnd::SetupFailed(_)
            | GuestEnd::Interrupted => GuestFault::Other,
        }
    }

    /// The command's own exit code, where it came to one.
    #[must_use]
    pub fn code(&self) -> Option<u8> {
        match self {
            GuestEnd::Exited(code) => Some(*code),
            _ => None,
        }
    }

    /// The exit code for a program that ran the guest: the command's own, or one that tells why
    /// there is none.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let lost = || self.lost().map_or(exit::DIED.code, |exit| exit.code);
        self.code().unwrap_or_else(lost)
    }

    /// The exit that tells why there is no code of the command's own; `None` where there is one.
    #[must_use]
    pub fn lost(&self) -> Option<Exit> {
        Some(match self {
            GuestEnd::Exited(_) => return None,
            GuestEnd::Panicked(_) => exit::PANIC,
            GuestEnd::Oopsed(_) => exit::OOPS,
            GuestEnd::LockedUp(_) => exit::LOCKUP,
            GuestEnd::Silent(_) => exit::SILENT,
            GuestEnd::TimedOut(_) => exit::TIMEOUT,
            GuestEnd::Died => exit::DIED,
            GuestEnd::BootFailed(_) => exit::BOOT,
            GuestEnd::SetupFailed(_) => exit::SETUP,
            GuestEnd::Interrupted => exit::INTERRUPTED,
        })
    }
}

impl fmt::Display for GuestEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuestEnd::Exited(code) => write!(f, "the guest's command ended with status {code}"),
            GuestEnd::Panicked(words) => write!(f, "the guest's kernel panicked: {words}"),
            GuestEnd::Oopsed(words) => write!(f, "the guest's kernel failed: {words}"),
            GuestEnd::LockedUp(words) => write!(f, "the guest's kernel is stuck: {words}"),
            GuestEnd::Silent(limit) => {
                write!(f, "the guest's command printed nothing for {limit} s, its limit")
            }
            GuestEnd::TimedOut(limit) => {
                write!(f, "the guest's command was not done after {limit} s, its limit")
            }
            GuestEnd::Died => f.write_str("the guest ended before its command did"),
            GuestEnd::BootFailed(why) => write!(f, "the guest did not come up: {why}"),
            GuestEnd::SetupFailed(what) => write!(f, "the guest cannot run the command: {what}"),
            GuestEnd::Interrupted => f.write_str("interrupted; the guest has been ended"),
        }
    }
}

/// The record of a guest's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GuestEnded {
    /// In words.
    pub how: String,
    /// Whether its kernel is to blame.
    pub fault: GuestFault,
    /// The command's exit code, where it had one.
    pub code: Option<u8>,
    /// The console's last lines, where the guest did not end well.
    pub console_tail: Vec<String>,
    /// What its console told of trouble, also where it ended well: headlines, as the kernel put
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
    /// Seconds to the guest's first sign of life.
    pub boot_seconds: Option<f64>,
    /// Seconds to its command's first line.
    pub first_output_seconds: Option<f64>,
    /// Seconds to its end.
    #[schemars(range(min = 0))]
    pub total_seconds: f64,
    /// What executed it.
    pub accelerator: Accelerator,
    /// Where the guest's evidence ended then; `None` where it left none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TrailEnd")]
    pub evidence: Option<TrailEnd>,
}

/// The end of a trail: the chain holds every line but the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TrailEnd {
    /// Its lines.
    #[schemars(range(min = 1))]
    pub lines: usize,
    /// SHA-256 of the last of them.
    #[schemars(regex(pattern = SHA256_HEX))]
    pub sha256: String,
}

/// Whose fault it is that a guest did not end by its command's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuestFault {
    /// It did end by it.
    None,
    /// The kernel's, and so what was loaded into it: a panic, an oops, a lock-up, silence.
    Kernel,
    /// Another: a limit, a set-up, a person.
    Other,
}
