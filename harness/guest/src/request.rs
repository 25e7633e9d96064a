//! A request for a guest: what to run, on which accelerator, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use evidence::kernel_log::Finding;

use super::accelerator::AcceleratorChoice;

/// What the guest is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestWork {
    /// Run this command, program first, in the checkout.
    Command(Vec<String>),
    /// Give the person at the terminal a root shell in the checkout.
    Shell,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestLimits {
    /// For the boot: how long the console may be silent. In all it may take six times as long, since its
    /// speed depends on the machine's load.
    pub boot: Duration,
    /// Without a line of output from the command.
    pub silence: Duration,
    /// From the start to the command's end.
    pub total: Duration,
}

impl Default for GuestLimits {
    /// An idle machine with two cores boots an emulated guest in 10 s, a busy one in 130. The silence is
    /// as long as the longest trial, the total as long as a whole validation.
    fn default() -> Self {
        GuestLimits {
            boot: Duration::from_secs(300),
            silence: Duration::from_secs(600),
            total: Duration::from_secs(3600),
        }
    }
}

/// What the time of a guest is to count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClockChoice {
    /// Time as it passes.
    #[default]
    Wall,
    /// A count of the guest's instructions, 2 ns each: the same on a busy machine, on one emulated
    /// CPU.
    Instructions,
    /// The clock that decides on the kernel against FUSE: instructions, or wall time on KVM.
    Deciding,
}

/// A guest to be run.
#[derive(Debug, Clone)]
pub struct GuestRequest {
    /// On what.
    pub accelerator: AcceleratorChoice,
    /// MiB of memory; 8 GiB if unset, less where the machine has less.
    pub memory_mib: Option<u64>,
    /// CPUs; 4 if unset, fewer where the machine has fewer.
    pub cpus: Option<u32>,
    /// What for.
    pub work: GuestWork,
    /// Variables for the command, beside those that every command gets.
    pub environment: Vec<(String, String)>,
    /// The one directory that the guest writes through to; made if it is not there.
    pub evidence_dir: PathBuf,
    /// For how long. A shell has no limit but the boot's.
    pub limits: GuestLimits,
    /// What its time counts. Instructions have one CPU, emulated.
    pub clock: ClockChoice,
    /// Whether its kernel looks for misused memory, which makes it slower: not where speed is measured.
    pub detectors: bool,
}

impl GuestRequest {
    /// A guest with everything at its default.
    pub fn new(work: GuestWork, evidence_dir: PathBuf) -> Self {
        GuestRequest {
            accelerator: AcceleratorChoice::default(),
            memory_mib: None,
            cpus: None,
            work,
            environment: Vec::new(),
            evidence_dir,
            limits: GuestLimits::default(),
            clock: ClockChoice::default(),
            detectors: false,
        }
    }
}

/// Receives what happens while the guest runs.
pub trait Observer {
    /// Something that a person should know: what was chosen and why.
    fn notice(&mut self, text: &str);
    /// A line of the command's output; never called for a shell, which has the terminal.
    fn output(&mut self, line: &str);
    /// The kernel reported trouble.
    fn trouble(&mut self, finding: &Finding) {
        self.notice(&format!("the guest's kernel says: {}", finding.headline));
    }
    /// A line of the console.
    fn console(&mut self, _line: &str) {}
}
