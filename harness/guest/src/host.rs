//! The programs and the kernel that this machine boots a guest with.

use std::path::PathBuf;

use evidence::guest::{Accelerator, Qemu};
use machine::interrupt::Signals;

use super::accelerator::{self, AcceleratorChoice};
use super::error::VmError;
use super::kernel::{Kernel, KernelChoice};
use super::launch;
use super::qemu;

/// QEMU, virtme-ng and a kernel, found once, so that [`run`](super::run) boots exactly what was
/// checked.
#[derive(Debug, Clone)]
pub struct Host {
    /// The QEMU.
    pub qemu: Qemu,
    /// virtme-ng's program that boots a guest.
    pub virtme_run: PathBuf,
    /// The kernel.
    pub kernel: Kernel,
}

impl Host {
    /// Finds QEMU, virtme-ng, and the kernel of `choice`.
    ///
    /// # Errors
    /// If one of them is missing; the error says what provides it.
    pub fn find(choice: &KernelChoice) -> Result<Host, VmError> {
        Ok(Host {
            qemu: qemu::find()?,
            virtme_run: launch::virtme_run()?,
            kernel: Kernel::find(choice)?,
        })
    }

    /// Finds QEMU, virtme-ng, and the kernel that a guest boots by default: `VEXFS_KERNEL`, or else
    /// the default series.
    pub fn of_environment() -> Result<Host, VmError> {
        Host::find(&KernelChoice::of_environment())
    }

    /// The accelerator that this choice leads to, and why. This boots the kernel on KVM, unless it
    /// is already known whether that works.
    ///
    /// # Errors
    /// If QEMU is too old to emulate, or KVM was demanded and does not boot the kernel.
    pub fn accelerator(&self, choice: AcceleratorChoice) -> Result<(Accelerator, String), VmError> {
        decide(choice, &self.kernel, &self.qemu)
    }
}

/// The accelerator that a guest would get here, and why. This does not need virtme-ng.
///
/// # Errors
/// If QEMU or the kernel is missing, or as [`Host::accelerator`].
pub fn accelerator_here() -> Result<(Accelerator, String), VmError> {
    let qemu = qemu::find()?;
    let kernel = Kernel::find(&KernelChoice::of_environment())?;
    decide(AcceleratorChoice::Auto, &kernel, &qemu)
}

fn decide(
    choice: AcceleratorChoice,
    kernel: &Kernel,
    qemu: &Qemu,
) -> Result<(Accelerator, String), VmError> {
    let signals = Signals::begin().map_err(VmError::system("signals cannot be watched"))?;
    let decision = accelerator::decide(choice, kernel, qemu, &|| signals.interrupted())?;
    qemu::must_be_fit_for(qemu, decision.accelerator)?;
    Ok((decision.accelerator, decision.reason))
}

/// The program that boots a guest: the one that `VEXFS_VIRTME_RUN` names, or virtme-ng's.
///
/// # Errors
/// [`VmError::NoVirtme`].
pub fn launcher() -> Result<PathBuf, VmError> {
    launch::virtme_run()
}
