//! Chooses between KVM and emulation: KVM only if it boots this very kernel.
//!
//! `/dev/kvm` may open, answer every ioctl and create virtual CPUs, and still not boot a stock
//! kernel (nested virtualisation is often like that); QEMU's own `-accel kvm:tcg` then picks KVM
//! and hangs. So KVM is trusted only after the kernel has reached its first program on it. The
//! answer is remembered per kernel and QEMU until the machine reboots.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use evidence::guest::{Accelerator, Qemu};
use machine::child::Supervised;
use machine::{place, project};
use serde::{Deserialize, Serialize};

use super::error::VmError;
use super::initramfs;
use super::kernel::Kernel;
use super::lines::{self, ConsoleEvent, Stream};

/// A working KVM boots the probe in one or two seconds.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// The accelerator that the user wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AcceleratorChoice {
    /// KVM if it boots the kernel, otherwise emulation.
    #[default]
    Auto,
    /// This accelerator, or an error.
    Only(Accelerator),
}

impl FromStr for AcceleratorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(AcceleratorChoice::Auto),
            "kvm" => Ok(AcceleratorChoice::Only(Accelerator::Kvm)),
            "tcg" => Ok(AcceleratorChoice::Only(Accelerator::Tcg)),
            other => Err(format!("{other:?} is no accelerator; choose auto, kvm or tcg")),
        }
    }
}

/// The accelerator that was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AcceleratorDecision {
    pub accelerator: Accelerator,
    pub reason: String,
}

/// Decides what executes the guest.
///
/// # Errors
/// If KVM was demanded and does not work, or the probe cannot be made at all.
pub(super) fn decide(
    choice: AcceleratorChoice,
    kernel: &Kernel,
    qemu: &Qemu,
    interrupted: &dyn Fn() -> bool,
) -> Result<AcceleratorDecision, VmError> {
    let tcg = |reason: String| AcceleratorDecision { accelerator: Accelerator::Tcg, reason };
    if choice == AcceleratorChoice::Only(Accelerator::Tcg) {
        return Ok(tcg("emulation was asked for".to_owned()));
    }
    let answer = match kvm_device() {
        Err(why) => Err(why),
        Ok(()) => remembered_or_probed(kernel, qemu, interrupted)?,
    };
    match (answer, choice) {
        (Ok(()), _) => Ok(AcceleratorDecision {
            accelerator: Accelerator::Kvm,
            reason: format!("KVM boots kernel {}", kernel.release),
        }),
        (Err(why), AcceleratorChoice::Auto) => Ok(tcg(why)),
        (Err(why), AcceleratorChoice::Only(_)) => Err(VmError::NoKvm { reason: why }),
    }
}

fn open_kvm() -> io::Result<()> {
    fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").map(drop)
}

fn kvm_device() -> Result<(), String> {
    open_kvm().map_err(|error| format!("/dev/kvm cannot be opened ({error})"))
}

/// Whether `/dev/kvm` exists and this user may not open it.
#[must_use]
pub fn kvm_is_closed() -> bool {
    open_kvm().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether KVM boots the kernel; if not, why.
type BootAnswer = Result<(), String>;

/// An answer, and what it was found for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    kernel: String,
    kernel_bytes: u64,
    qemu: Qemu,
    boot_id: String,
    failure: Option<String>,
}

fn remembered_or_probed(
    kernel: &Kernel,
    qemu: &Qemu,
    interrupted: &dyn Fn() -> bool,
) -> Result<BootAnswer, VmError> {
    let memory = project::cache().join("kvm-probe.json");
    let mut entry = Remembered {
        kernel: kernel.image.display().to_string(),
        kernel_bytes: fs::metadata(&kernel.image).map_or(0, |metadata| metadata.len()),
        qemu: qemu.clone(),
        boot_id: place::boot_id(),
        failure: None,
    };
    // If the remembered answer cannot be read or written, the probe is made again.
    let mut entries: Vec<Remembered> = fs::read(&memory)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let known =
        entries.iter().find(|known| Remembered { failure: None, ..(*known).clone() } == entry);
    if let Some(known) = known {
        return Ok(known.failure.clone().map_or(Ok(()), Err));
    }
    let answer = probe(kernel, qemu, Accelerator::Kvm, interrupted)?;
    entry.failure = answer.clone().err();
    entries.retain(|old| old.boot_id == entry.boot_id);
    entries.push(entry);
    if let Ok(text) = serde_json::to_vec_pretty(&entries) {
        let _ = fs::write(&memory, text);
    }
    Ok(answer)
}

/// Boots the kernel with the tiny initramfs up to its first program.
fn probe(
    kernel: &Kernel,
    qemu: &Qemu,
    accelerator: Accelerator,
    interrupted: &dyn Fn() -> bool,
) -> Result<BootAnswer, VmError> {
    let directory = tempfile::Builder::new()
        .prefix("vexfs-probe-")
        .tempdir()
        .map_err(VmError::system("no temporary directory can be made; make room in TMPDIR"))?;
    let initrd = directory.path().join("initramfs.cpio");
    initramfs::write(&initrd)?;
    boot_probe(&mut probe_command(kernel, qemu, accelerator, &initrd), interrupted)
}

/// The command of the probe. It uses the CPU model that virtme-ng will choose, because that model
/// is what fails on a machine whose KVM is incomplete.
fn probe_command(kernel: &Kernel, qemu: &Qemu, on: Accelerator, initrd: &Path) -> Command {
    let cpu = match on {
        Accelerator::Kvm => "host,topoext=on",
        Accelerator::Tcg => "max",
    };
    let mut command = Command::new(&qemu.path);
    command.arg("-machine").arg(format!("q35,accel={on}")).args(["-cpu", cpu, "-m", "512"]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    command.args(["-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initrd);
    command
}

fn boot_probe(
    command: &mut Command,
    interrupted: &dyn Fn() -> bool,
) -> Result<BootAnswer, VmError> {
    let deadline = Instant::now() + PROBE_LIMIT;
    let cannot = || VmError::system("QEMU cannot be started to try KVM; check with: make setup");
    let (both_ends, write_end) = io::pipe().map_err(cannot())?;
    command.stdin(Stdio::null()).stderr(write_end.try_clone().map_err(cannot())?).stdout(write_end);
    let child = Supervised::of("QEMU", command.spawn().map_err(cannot())?);
    // The command still holds the pipe's write end; dropping it lets the reader see QEMU's end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (report, events) = lines::channel();
    lines::read(Stream::Console, both_ends, report).map_err(cannot())?;

    let mut words = Vec::new();
    loop {
        if interrupted() {
            return Err(VmError::Interrupted);
        }
        if Instant::now() >= deadline {
            let seconds = PROBE_LIMIT.as_secs();
            return Ok(Err(format!("KVM did not boot the kernel within {seconds} s")));
        }
        match events.recv_timeout(Duration::from_millis(100)) {
            Ok(ConsoleEvent::Line(_, line)) if line.contains(initramfs::MARK) => return Ok(Ok(())),
            Ok(ConsoleEvent::Line(_, line)) => words.push(line.trim().to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(ConsoleEvent::End) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    drop(child);
    // QEMU names the error first and then aborts with less informative words.
    let error = words.iter().find(|line| line.contains("error")).or(words.last());
    let error = error.map_or("QEMU ended without a word", |line| line);
    Ok(Err(format!("the kernel does not boot on KVM: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(script: &str) -> BootAnswer {
        boot_probe(Command::new("sh").args(["-c", script]), &|| false).unwrap()
    }

    #[test]
    fn the_mark_proves_the_boot() {
        // The mark counts although the machine then never ends: the probe ends the process.
        assert_eq!(says(&format!("echo '{}'; exec sleep 1000", initramfs::MARK)), Ok(()));
    }

    #[test]
    fn an_abort_is_reported_with_its_reason() {
        let why =
            says("echo booting; echo 'error: failed to set MSR' >&2; echo Aborted").unwrap_err();
        assert_eq!(why, "the kernel does not boot on KVM: error: failed to set MSR");
    }

    #[test]
    fn an_interruption_ends_the_probe() {
        let outcome = boot_probe(Command::new("sleep").arg("1000"), &|| true);
        assert!(matches!(outcome, Err(VmError::Interrupted)));
    }

    #[test]
    fn choices_are_read() {
        assert_eq!("auto".parse(), Ok(AcceleratorChoice::Auto));
        assert_eq!("kvm".parse(), Ok(AcceleratorChoice::Only(Accelerator::Kvm)));
        assert!("hvf".parse::<AcceleratorChoice>().unwrap_err().contains("auto, kvm or tcg"));
    }
}
