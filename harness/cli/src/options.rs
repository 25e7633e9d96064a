//! Options that several commands have.

use ::guest::ClockChoice;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use evidence::criterion::Criterion;
use evidence::guest::DEFAULT_SERIES;

/// How the guest is made; the same for `run` and `guest`.
#[derive(Debug, Clone, Args)]
pub struct GuestOptions {
    /// Kernel: a version (6.12), a release (6.12.117+deb12-amd64) or a path to an image
    #[arg(long, value_name = "KERNEL", default_value = DEFAULT_SERIES, env = "VEXFS_KERNEL")]
    pub kernel: String,
    /// What runs the guest's CPU
    #[arg(long, value_enum, default_value_t = AcceleratorOption::Auto)]
    pub accelerator: AcceleratorOption,
    /// Memory in MiB [default: 8192, or three quarters of what is free]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u64>,
    /// Virtual CPUs [default: 4, or as many as the machine has]
    #[arg(long)]
    pub cpus: Option<u32>,
    /// Longest time for everything in the guest, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10_800)]
    pub time_limit: u64,
}

/// What runs the guest's CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AcceleratorOption {
    /// KVM where a kernel boots on it, else an emulated CPU
    Auto,
    /// KVM only
    Kvm,
    /// An emulated CPU (TCG)
    Tcg,
}

/// What the guest's time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClockOption {
    /// Time as it passes
    Wall,
    /// A count of the guest's instructions, 2 ns each: the same on a busy machine, on one emulated
    /// CPU
    Instructions,
    /// Whichever decides on the kernel against FUSE: instructions, but wall time on KVM
    Deciding,
}

impl From<ClockOption> for ClockChoice {
    fn from(clock: ClockOption) -> Self {
        match clock {
            ClockOption::Wall => ClockChoice::Wall,
            ClockOption::Instructions => ClockChoice::Instructions,
            ClockOption::Deciding => ClockChoice::Deciding,
        }
    }
}

/// Reads a criterion's name; help, completion and errors list all five.
pub(super) fn criterion() -> impl TypedValueParser<Value = Criterion> {
    let known = Criterion::ALL.map(|one| PossibleValue::new(one.id()).help(one.title()));
    PossibleValuesParser::new(known).try_map(|name| name.parse::<Criterion>())
}
