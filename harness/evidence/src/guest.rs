//! How a guest was launched and how it ended.
//!
//! [`GuestEnd`] lists every way in which a guest can end. The launcher decides which one it was and
//! records it as [`GuestEnded`].

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::exit::{self, Exit};
use crate::files::LAUNCH_FILE;
use crate::strict;

/// The kernel series that a guest boots unless another is named.
pub const DEFAULT_SERIES: &str = "6.12";

/// How many of the console's last lines the record of a guest's end keeps.
pub const TAIL_LINES: usize = 40;

/// What executes a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The machine's own CPU.
    Kvm,
    /// QEMU's translator: an emulated CPU.
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
    /// Why it was chosen.
    pub accelerator_reason: String,
    /// What its time counts.
    pub clock: Clock,
    /// QEMU and its version.
    pub qemu: Qemu,
    /// `uname -r` of its kernel.
    pub kernel_release: String,
    /// MiB of memory.
    pub memory_mib: u64,
    /// Virtual CPUs.
    #[schemars(range(min = strict::ONE))]
    #[serde(deserialize_with = "strict::some")]
    pub cpus: u64,
    /// The memory-error detectors on its kernel's command line; empty in a boot that measures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detectors: Vec<String>,
    /// The command line of virtme-ng, program first.
    pub command_line: Vec<String>,
}

impl GuestLaunch {
    /// Reads the launch back from the evidence directory, e.g. in the guest.
    ///
    /// # Errors
    /// If the file is missing or incomplete.
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
    /// The kernel panicked, with its message.
    Panicked(String),
    /// The kernel reported an oops or `BUG`, with its message. Nothing after it can be trusted,
    /// even if the command succeeded.
    Oopsed(String),
    /// The kernel reported a lock-up, stall or hung task, and the command never ended.
    LockedUp(String),
    /// The command printed nothing for this many seconds, its limit.
    Silent(u64),
    /// The command was not done after this many seconds, its limit.
    TimedOut(u64),
    /// The machine ended before the command had a status: it powered off, or QEMU died.
    Died,
    /// It never came up; the reason.
    BootFailed(String),
    /// It came up, but lacks something that the launcher promises to the command.
    SetupFailed(String),
    /// Ctrl-C.
    Interrupted,
}

impl GuestEnd {
    /// Who is to blame.
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

    /// The command's own exit code, if it ran to its end.
    pub fn code(&self) -> Option<u8> {
        match self {
            GuestEnd::Exited(code) => Some(*code),
            _ => None,
        }
    }

    /// The exit code for the program that ran the guest: the command's own, or one that says why
    /// there is none.
    pub fn exit_code(&self) -> u8 {
        let lost = || self.lost().map_or(exit::DIED.code, |exit| exit.code);
        self.code().unwrap_or_else(lost)
    }

    /// Why the command has no exit code; `None` if it has one.
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
    /// How it ended, in words.
    pub how: String,
    /// Whether its kernel is to blame.
    pub fault: GuestFault,
    /// The command's exit code, if it had one.
    #[serde(deserialize_with = "strict::told")]
    pub code: Option<u8>,
    /// The console's last lines, if the guest did not end well.
    pub console_tail: Vec<String>,
    /// Headlines of kernel trouble on its console, even if it ended well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
    /// Files of the host that changed while the guest ran. The guest's root is the host's file
    /// system, so a file that the guest then finds stale is not its kernel's fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_changes: Vec<String>,
    /// Seconds to the guest's first sign of life.
    #[serde(deserialize_with = "strict::told")]
    pub boot_seconds: Option<f64>,
    /// Seconds to its command's first line.
    #[serde(deserialize_with = "strict::told")]
    pub first_output_seconds: Option<f64>,
    /// Seconds to its end.
    #[schemars(range(min = strict::NO_TIME))]
    #[serde(deserialize_with = "strict::seconds")]
    pub total_seconds: f64,
    /// What executed it.
    pub accelerator: Accelerator,
    /// Where the guest's evidence ended at that moment; missing if it left none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::not_null"
    )]
    #[schemars(with = "EndOfTrail")]
    pub evidence: Option<EndOfTrail>,
}

/// The end of a trail. The chain of hashes does not protect the last line; this does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EndOfTrail {
    /// How many lines it has.
    #[schemars(range(min = strict::ONE))]
    #[serde(deserialize_with = "strict::some")]
    pub lines: usize,
    /// SHA-256 of the last line.
    #[schemars(regex(pattern = strict::SHA256_HEX))]
    #[serde(deserialize_with = "strict::sha256")]
    pub sha256: String,
}

/// Who is to blame if a guest ended before its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuestFault {
    /// Nobody: the command ran to its end.
    None,
    /// The kernel, or a module that was loaded into it: a panic, an oops, a lock-up, silence.
    Kernel,
    /// Something else: a limit, the set-up, a person.
    Other,
}
