//! `vexfs-validate gate`: a module gets into `/lib/modules` with an attestation, or not at all.
//!
//! [`place`] knows the files and installs them, [`install`] decides whether a module may be
//! installed, [`status`] examines what is installed, and [`remove`] takes it out. [`upgrade`] builds,
//! validates and installs for a kernel that has not been booted yet.

mod install;
mod load;
mod place;
mod remove;
mod status;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::help;
use super::stop::Stop;

/// What `gate` does.
#[derive(Debug, Subcommand)]
pub(super) enum Gate {
    /// Install a module for a kernel, if an attestation permits it
    #[command(after_help = help::GATE_INSTALL)]
    Install(Install),
    /// Load the module that was installed for the running kernel
    Load(Load),
    /// Remove a kernel's module, so that FUSE serves
    #[command(after_help = help::GATE_REMOVE)]
    Remove(Remove),
    /// List the kernels, with their modules and attestations
    Status(Status),
    /// Build, validate in guests and install the module for a kernel, before it is booted
    #[command(after_help = help::GATE_UPGRADE)]
    Upgrade(upgrade::Upgrade),
}

/// `gate install`.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// The module file
    module: PathBuf,
    /// The kernel, as `uname -r` says it
    #[arg(long, value_name = "RELEASE")]
    kernel: String,
    /// The attestation for exactly this file and kernel
    #[arg(long, value_name = "FILE")]
    attestation: PathBuf,
    /// The public key of the trusted signer: of signify(1) or minisign(1)
    #[arg(long, value_name = "PUBKEY")]
    key: PathBuf,
    /// The directory that is the machine's root
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// How much must be attested
    #[arg(long, value_enum, default_value_t = AttestedLevel::BareMetal)]
    level: AttestedLevel,
}

/// `gate load`.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Load it into this machine's own kernel; needs a terminal, and is refused in CI
    #[arg(long)]
    yes_on_this_machine: bool,
    /// The public key of the trusted signer [default: the one that was named at installation]
    #[arg(long, value_name = "PUBKEY")]
    key: Option<PathBuf>,
}

/// `gate remove`.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// The kernel, as `uname -r` says it
    #[arg(long, value_name = "RELEASE")]
    kernel: String,
    /// The directory that is the machine's root
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// `gate status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// The directory that is the machine's root
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The public key of the trusted signer [default: the one that was named at installation]
    #[arg(long, value_name = "PUBKEY")]
    key: Option<PathBuf>,
}

/// How much must be attested before a module is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AttestedLevel {
    /// ELIGIBLE: all four conditions of bare metal
    BareMetal,
    /// PASS in the VM, emulated or not; each load says so in the kernel's log
    Vm,
    /// The functional criteria in the VM, as `gate upgrade` attests them; each load says so
    Functional,
}

pub(super) fn run(what: &Gate) -> Result<ExitCode, Stop> {
    match what {
        Gate::Install(options) => install::install(options),
        Gate::Load(options) => load::load(options),
        Gate::Remove(options) => remove::remove(options),
        Gate::Status(options) => status::status(options),
        Gate::Upgrade(options) => upgrade::upgrade(options),
    }
}
