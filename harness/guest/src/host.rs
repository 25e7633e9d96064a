//! What this machine boots a guest with.

use std::path::PathBuf;

use evidence::guest::{Accelerator, Qemu};
use machine::interrupt::Signals;

use super::accelerator::{self, AcceleratorChoice};
use super::error::VmError;
use super::kernel::{Kernel, KernelChoice};
use super::launch;
use super::qemu;

/// QEMU, virtme-ng and a kernel, found once: what was checked is what [`run`](super::run) boots.
#[derive(Debug, Clone)]
pub struct Host {
    /// The QEMU.
    pub qemu: Qemu,
    /// virtme-ng's program that boots.
    pub virtme_run: PathBuf,
    /// The kernel.
    pub kernel: Kernel,
}

impl Host {
    /// Finds them, the kernel by `choice`.
    ///
    /// # Errors
    /// One is missing, and what provides it.
    pub fn find(choice: &KernelChoice) -> Result<Host, VmError> {
        Ok(Host {
            qemu: qemu::find()?,
            virtme_run: launch::virtme_run()?,
            kernel: Kernel::find(choice)?,
        })
    }

    /// Finds them, the kernel being the one that a guest boots unless another is named:
    /// `VEXFS_KERNEL`, or the default series.
    pub fn of_environment() -> Result<Host, VmError> {
        Host::find(&KernelChoice::of_environment())
    }

    /// What would execute a guest, by this choice, and why: the kernel is booted on KVM, unless it
    /// is known already whether that works.
    ///
    /// # Errors
    /// QEMU is too old to emulate, or KVM was demanded and does not boot the kernel.
    pub fn accelerator(&self, choice: AcceleratorChoice) -> Result<(Accelerator, String), VmError> {
        decide(choice, &self.kernel, &self.qemu)
    }
}

/// What would execute a guest here, and why. It takes no virtme-ng to say so.
///
/// # Errors
/// QEMU or the kernel is missing; or as [`Host::accelerator`].
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

/// The program that boots a guest: what `VEXFS_VIRTME_RUN` names, or virtme-ng's.
///
/// # Errors
/// [`VmError::NoVirtme`].
pub fn launcher() -> Result<PathBuf, VmError> {
    launch::virtme_run()
}
