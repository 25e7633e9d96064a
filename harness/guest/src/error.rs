//! Why a guest could not be started, in messages that name the next step.

use std::io;
use std::path::PathBuf;

use evidence::exit::{self, Exit};

/// The command that installs the programs and kernels that the launcher needs.
const SETUP: &str = "provide it with: make setup";

/// A guest could not be started or observed. A guest that did start has a
/// [`GuestEnd`](evidence::GuestEnd) instead.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU is not installed.
    #[error("QEMU is missing: no {program} on the path; {SETUP}")]
    NoQemu {
        /// The program that was looked for.
        program: String,
    },
    /// QEMU does not report its version.
    #[error(
        "{path} does not say its version ({said:?}); reinstall QEMU: apt-get install --reinstall qemu-system-x86"
    )]
    QemuVersion {
        /// The program.
        path: PathBuf,
        /// What it printed.
        said: String,
    },
    /// QEMU's emulation is known to compute wrongly.
    #[error(
        "QEMU {version} ({path}) computes AVX2 wrongly under emulation; version {needed} or later is \
         needed where KVM does not work: make setup installs it from Debian's backports"
    )]
    QemuTooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: String,
        /// The oldest major version that is good enough.
        needed: u32,
    },
    /// virtme-ng is not installed.
    #[error("virtme-ng is missing: no {program} in .cache/venv/bin or on the path; {SETUP}")]
    NoVirtme {
        /// The program that was looked for.
        program: String,
    },
    /// No installed kernel matches.
    #[error(
        "no kernel {wanted} is installed (found: {found}); provide it with: make setup KERNEL={wanted}"
    )]
    NoKernel {
        /// The kernel that was asked for.
        wanted: String,
        /// The releases that are installed.
        found: String,
    },
    /// The path given as kernel does not exist or cannot be read.
    #[error(
        "the kernel {path} is not there: {source}; give the path of a vmlinuz, or a version: --kernel 6.12"
    )]
    KernelPath {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file given as kernel is something else.
    #[error(
        "{path} is not an x86 Linux kernel image; give the path of a vmlinuz, or a version: --kernel 6.12"
    )]
    NotAKernel {
        /// The path.
        path: PathBuf,
    },
    /// The kernel's modules are not in their place.
    #[error(
        "kernel {release} has no modules ({looked}); install them beside it, or: make setup KERNEL={release}"
    )]
    NoModules {
        /// The kernel's release.
        release: String,
        /// Where they were looked for.
        looked: PathBuf,
    },
    /// The kernel's headers are missing.
    #[error(
        "kernel {release} has no headers to build a module against ({looked}); {SETUP} KERNEL={release}"
    )]
    NoHeaders {
        /// The kernel's release.
        release: String,
        /// Where they were looked for.
        looked: PathBuf,
    },
    /// KVM was demanded but does not boot this kernel.
    #[error(
        "KVM was asked for, but {reason}; leave the choice to the launcher, or: --accelerator tcg"
    )]
    NoKvm {
        /// What happened when KVM was tried.
        reason: String,
    },
    /// The demands on the clock, the accelerator and the CPUs contradict each other.
    #[error(
        "the instruction clock needs emulation on one CPU; leave out --accelerator kvm and --cpus"
    )]
    InstructionClock,
    /// Too little memory for a guest.
    #[error(
        "the guest would have {given} MiB of memory and needs {needed}; ask for more, or end other \
         programs if the machine has no more"
    )]
    TooLittleMemory {
        /// MiB that the guest would have.
        given: u64,
        /// MiB that the guest needs.
        needed: u64,
    },
    /// More memory was asked for than this machine has.
    #[error(
        "the guest was to have {asked} MiB of memory, this machine has {present}; ask for less"
    )]
    TooMuchMemory {
        /// MiB asked for.
        asked: u64,
        /// MiB present.
        present: u64,
    },
    /// A path cannot be passed on the kernel command line.
    #[error(
        "{path} cannot be shared with the guest: it must be at most {limit} bytes of letters, digits and \
         _ + - . /; move the checkout or choose another evidence directory"
    )]
    SharedPath {
        /// The path.
        path: PathBuf,
        /// The largest number of bytes.
        limit: usize,
    },
    /// The guest has a /tmp of its own, and so would not find the programs.
    #[error(
        "cargo builds into {path}, which the guest does not see, because it has its own /tmp; set \
         CARGO_TARGET_DIR (or build.target-dir) to a directory elsewhere and build again"
    )]
    BuiltInTmp {
        /// The directory into which cargo builds.
        path: PathBuf,
    },
    /// The evidence directory cannot be written to.
    #[error(
        "evidence cannot be written to {path}: {source}; make room there or choose another directory"
    )]
    Evidence {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A system call or program that the launcher needs has failed.
    #[error("{what}: {source}")]
    System {
        /// What was being done, and what to do about the failure.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// Ctrl-C while the accelerator was being chosen or the guest was being prepared.
    #[error("interrupted before the guest started")]
    Interrupted,
}

impl VmError {
    /// The exit code that a program should end with.
    pub fn exit(&self) -> Exit {
        match self {
            VmError::Evidence { .. } => exit::EVIDENCE,
            VmError::Interrupted => exit::INTERRUPTED,
            VmError::InstructionClock | VmError::TooMuchMemory { .. } => exit::USAGE,
            _ => exit::SETUP,
        }
    }

    pub(super) fn evidence(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> VmError {
        let path = path.into();
        move |source| VmError::Evidence { path, source }
    }

    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> VmError {
        let what = what.into();
        move |source| VmError::System { what, source }
    }
}
