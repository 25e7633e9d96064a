//! `vexfs-validate gate upgrade`: validates the module on a kernel before that kernel is booted,
//! and installs it for that kernel if it passes.
//!
//! The module is built for the kernel, two guests boot the kernel and run the functional criteria,
//! this machine's key signs what passed, and `gate install` lets the very file in that was tested.
//! Whatever goes wrong, the gate stays as it was, and [`journal`] keeps why, for `gate status`.
//! [`steps`] does what takes a compiler and a guest; tests put other steps in its place.

mod dpkg;
mod journal;
mod steps;
#[cfg(test)]
mod tests;
mod trials;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use evidence::GuestFault;
use evidence::exit::{self, Exit};
use machine::atomic;
use machine::interrupt::Signals;
use serde::{Deserialize, Serialize};
use verdict::Evidence;
use verdict::attestation::{Signer, Statement, sign};

use super::install::{self, must_be_installed};
use super::place::{ATTESTATION, KEY, Root};
use super::status::kernels;
use super::{AttestedLevel, Install};
use crate::attest::{now_ms, secret_key};
use crate::options::{AcceleratorOption, GuestOptions};
use crate::output::outln;
use crate::stop::Stop;
use journal::{Journal, Outcome, announce, has_not_ended};

pub(super) use journal::last_upgrade;

/// `gate upgrade`.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The kernel, as `uname -r` says it; it need not be the one that runs
    #[arg(long, value_name = "RELEASE", required_unless_present = "unfinished")]
    kernel: Option<String>,
    /// Each kernel whose upgrade was asked for and has not ended, as after a restart
    #[arg(long, conflicts_with = "kernel")]
    unfinished: bool,
    /// Begin when dpkg is done, if packages are being installed
    #[arg(long)]
    after_dpkg: bool,
    /// The secret key of this machine, without a passphrase: of signify(1) or minisign(1)
    #[arg(long, value_name = "FILE", default_value = "/etc/vexfs-gate/machine.sec")]
    key: PathBuf,
    /// The directory that is the machine's root
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// What runs the guest's CPU
    #[arg(long, value_enum, default_value_t = AcceleratorOption::Auto)]
    accelerator: AcceleratorOption,
    /// Longest time for each of the two guests, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    time_limit: u64,
}

/// Where an upgrade was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// The module was not built.
    Build,
    /// No guest came up.
    Guest,
    /// The functional criteria are not PASS.
    Criteria,
    /// What passed may not be installed.
    Installation,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Build => "the module was not built",
            Stage::Guest => "no guest came up",
            Stage::Criteria => "the criteria did not pass",
            Stage::Installation => "it was not installed",
        })
    }
}

/// Why an upgrade does not install the module.
#[derive(Debug)]
struct Refusal {
    exit: Exit,
    stage: Stage,
    why: String,
}

impl Stage {
    fn refusal(self, exit: Exit, why: impl fmt::Display) -> Refusal {
        Refusal { exit, stage: self, why: why.to_string() }
    }

    fn stopped(self) -> impl FnOnce(Stop) -> Refusal {
        move |stop| self.refusal(stop.exit, stop.message)
    }
}

/// What takes a compiler and a guest.
trait Steps {
    /// Builds the module for the kernel `release`, and says where it is.
    fn build(&mut self, release: &str) -> Result<PathBuf, Stop>;

    /// Runs the functional criteria in guests with the kernel `release`, and leaves the evidence in
    /// `dir`. A guest that dies is no error: the evidence tells.
    fn validate(&mut self, release: &str, dir: &Path) -> Result<(), Stop>;
}

/// How long an upgrade of packages may take.
const DPKG_LIMIT: Duration = Duration::from_secs(2 * 3600);

pub(super) fn upgrade(options: &Upgrade) -> Result<ExitCode, Stop> {
    let root = Root::new(&options.root);
    let kernels = match &options.kernel {
        Some(kernel) => {
            must_be_installed(&root, kernel)?;
            vec![kernel.clone()]
        }
        None => unfinished(&options.root)?,
    };
    if kernels.is_empty() {
        outln!("no upgrade has been left unfinished");
        return Ok(ExitCode::SUCCESS);
    }
    let signer = secret_key::read(&options.key).map_err(|stop| {
        let advice = format!(
            "make a key for this machine with: signify-openbsd -G -n -s {} -p FILE",
            options.key.display()
        );
        Stop::new(stop.exit, format!("{}; {advice}", stop.message))
    })?;
    for kernel in &kernels {
        announce(&options.root, kernel)?;
    }
    if options.after_dpkg {
        let signals = Signals::begin().map_err(|error| Stop::new(exit::SETUP, error))?;
        dpkg::wait(&options.root, DPKG_LIMIT).map_err(|failure| {
            let code = if signals.interrupted() { exit::INTERRUPTED } else { exit::SETUP };
            Stop::new(code, failure)
        })?;
    }
    let one = |kernel: &String| {
        let machine = GuestOptions {
            kernel: kernel.clone(),
            accelerator: options.accelerator,
            memory: None,
            cpus: None,
            time_limit: options.time_limit,
        };
        run(&options.root, kernel, &signer, &mut steps::Checkout { machine })
    };
    each(&kernels, one)
}

/// The installed kernels whose last upgrade has not ended.
fn unfinished(root: &Path) -> Result<Vec<String>, Stop> {
    let home = Root::new(root).kernels();
    let mut all = match kernels(&home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        all => {
            all.map_err(|error| Stop::new(exit::EVIDENCE, format!("{}: {error}", home.display())))?
        }
    };
    all.retain(|release| has_not_ended(root, release));
    Ok(all)
}

/// Upgrades one kernel after the other. A refusal does not keep the others from theirs, an
/// interruption does; the last refusal is the result.
fn each(
    kernels: &[String],
    mut one: impl FnMut(&String) -> Result<ExitCode, Stop>,
) -> Result<ExitCode, Stop> {
    let mut result: Result<_, Stop> = Ok(ExitCode::SUCCESS);
    for kernel in kernels {
        let Err(stop) = one(kernel) else { continue };
        let interrupted = stop.exit == exit::INTERRUPTED;
        if let Err(earlier) = std::mem::replace(&mut result, Err(stop)) {
            eprintln!("vexfs-validate: {}", earlier.message);
        }
        if interrupted {
            break;
        }
    }
    result
}

/// Takes all steps, and writes into the journal how they ended.
fn run(
    root: &Path,
    release: &str,
    signer: &Signer,
    steps: &mut dyn Steps,
) -> Result<ExitCode, Stop> {
    let journal = Journal::open(root, release)?;
    let dir = journal.begin(now_ms())?;
    match take(root, release, signer, steps, &dir) {
        Ok(()) => {
            journal.end(Outcome::Installed { ended_ms: now_ms() })?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Refusal { exit, stage, why }) => {
            let message = format!(
                "the gate of kernel {release} stays as it was: {stage}: {why}\nall of it: {}",
                dir.display()
            );
            // What was interrupted has not ended, and is to be done once more.
            if exit != exit::INTERRUPTED {
                journal.end(Outcome::Refused { ended_ms: now_ms(), stage, why })?;
            }
            Err(Stop::new(exit, message))
        }
    }
}

fn take(
    root: &Path,
    release: &str,
    signer: &Signer,
    steps: &mut dyn Steps,
    dir: &Path,
) -> Result<(), Refusal> {
    let module = steps.build(release).map_err(Stage::Build.stopped())?;
    steps.validate(release, dir).map_err(Stage::Guest.stopped())?;
    let evidence =
        Evidence::read(dir).map_err(|error| Stage::Criteria.refusal(exit::EVIDENCE, error))?;
    let statement = Statement::of_functional(&evidence, now_ms()).map_err(|why| {
        // The reasons are those of trials. What ended their guest explains them.
        let end = evidence.guest_end().filter(|end| end.fault != GuestFault::None);
        let end = end.map_or_else(String::new, |end| format!("{}; ", end.how));
        Stage::Criteria.refusal(exit::REFUSED, format!("{end}{why}"))
    })?;
    let [attestation, key] = [ATTESTATION, KEY].map(|name| dir.join(name));
    for (file, text) in
        [(&attestation, sign(&statement, signer)), (&key, signer.public_key().to_text())]
    {
        atomic::write(file, text.as_bytes()).map_err(|error| {
            Stage::Installation.refusal(exit::EVIDENCE, format!("{}: {error}", file.display()))
        })?;
    }
    // The gate reads the module anew: a file that is not the tested one stays out.
    let install = Install {
        module,
        kernel: release.to_owned(),
        attestation,
        key,
        root: root.to_owned(),
        level: AttestedLevel::Functional,
    };
    install::install(&install).map_err(Stage::Installation.stopped())?;
    outln!("kernel {release} mounts vexfs by its module from its next boot on");
    Ok(())
}
