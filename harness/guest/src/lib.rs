//! The launcher: boots a guest on this machine's own files, runs a command in it, and reports how
//! both ended.
//!
//! [`Host`] finds QEMU, virtme-ng and a kernel. [`run`] does everything else: it tests an
//! accelerator by booting on it, and starts virtme-ng in a process group of its own. The guest sees
//! this machine's root directory read-only, with temporary writable copies of the checkout and of
//! the system's directories; only the evidence directory is written through. In the guest,
//! `fixtures/guest/init.sh` records that the guest is up, runs the command and records how it
//! ended. The launcher also reads the console, which distinguishes a panic, an oops, a lock-up and
//! a silent guest from a failing command and a failing set-up ([`GuestEnd`](evidence::GuestEnd)).
//! Whatever happens, nothing of the guest is left behind.
//!
//! It depends on `evidence` and `machine` and knows nothing about VexFS: the caller builds what is
//! to be tested before it boots a guest. Optional environment variables: `VEXFS_QEMU`,
//! `VEXFS_VIRTME_RUN` and `VEXFS_BUSYBOX` name programs to use instead of those on the PATH.

mod accelerator;
mod detectors;
mod end;
mod error;
mod host;
mod host_files;
mod initramfs;
mod kernel;
mod launch;
mod lines;
mod outcome;
mod process;
mod qemu;
mod record;
mod request;
mod resources;
mod run;
mod script;
mod status;
mod supervise;
mod terminal;

pub use accelerator::{AcceleratorChoice, kvm_is_closed};
pub use error::VmError;
pub use host::{Host, accelerator_here, launcher};
pub use kernel::{Kernel, KernelChoice};
pub use outcome::GuestOutcome;
pub use qemu::find as find_qemu;
pub use request::{ClockChoice, GuestLimits, GuestRequest, GuestWork, Observer};
pub use run::run;
pub use script::COMMAND_FILE;
pub use status::{GuestStatus, STATUS_FILE};
pub use supervise::OUTPUT_FILE;
