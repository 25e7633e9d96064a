//! A request for a guest: what to run, on which accelerator, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use evidence::kernel_log::Finding;

use super::accelerator::AcceleratorChoice;

/// What the guest is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestWork {
    /// Runs this command, program first, in the checkout.
    Command(Vec<String>),
    /// Gives the person at the terminal a root shell in the checkout.
    Shell,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestLimits {
    /// How long the console may be silent during the boot. The whole boot may take six times as
    /// long, since its speed depends on the machine's load.
    pub boot: Duration,
    /// How long the command may print nothing.
    pub silence: Duration,
    /// How long it may take from the start to the command's end.
    pub total: Duration,
}

impl Default for GuestLimits {
    /// An idle machine with two cores boots an emulated guest in 10 s, a busy one in 130 s. The
    /// silence is as long as the longest trial, the total as long as a whole validation.
    fn default() -> Self {
        GuestLimits {
            boot: Duration::from_secs(300),
            silence: Duration::from_secs(600),
            total: Duration::from_secs(3600),
        }
    }
}

/// What a guest's time counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClockChoice {
    /// Elapsed time.
    #[default]
    Wall,
    /// The guest's instructions, counted as 2 ns each. The count is the same on a busy machine, and
    /// needs a single emulated CPU.
    Instructions,
    /// The clock that decides whether the kernel is faster than FUSE: wall time on KVM, otherwise
    /// instructions.
    Deciding,
}

/// A guest to run.
#[derive(Debug, Clone)]
pub struct GuestRequest {
    /// The accelerator.
    pub accelerator: AcceleratorChoice,
    /// MiB of memory; if unset, 8 GiB, or less if the machine has less.
    pub memory_mib: Option<u64>,
    /// CPUs; if unset, 4, or fewer if the machine has fewer.
    pub cpus: Option<u32>,
    /// What it does.
    pub work: GuestWork,
    /// Variables for the command, in addition to those that every command gets.
    pub environment: Vec<(String, String)>,
    /// The only directory to which the guest writes through; it is created if it does not exist.
    pub evidence_dir: PathBuf,
    /// How long things may take. For a shell, only the boot is limited.
    pub limits: GuestLimits,
    /// What its time counts. Instructions can only be counted on one emulated CPU.
    pub clock: ClockChoice,
    /// Whether its kernel looks for memory errors. That makes it slower, so not if speed is
    /// measured.
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
    /// Tells a person something, e.g. what was chosen and why.
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
