//! The launcher: boots a guest on this machine's own files, runs a command in it, and tells how
//! both ended.
//!
//! [`run`] is the whole story. It finds QEMU, virtme-ng and a kernel, proves an accelerator by
//! booting on it, and starts virtme-ng in a process group of its own. The guest sees this
//! machine's root directory read-only, with throw-away writable copies of the checkout and of the
//! system's directories; only the evidence directory is written through. Its first program of
//! ours, `fixtures/guest/init.sh`, says that it is up, runs the command and says how it ended. The
//! console is read beside it, so that a panic, an oops, a lock-up and a silent guest are told
//! apart from a failing command and a failing set-up ([`GuestEnd`]). Whatever happens, nothing of
//! the guest is left behind.
//!
//! Settings by environment, all optional: `VEXFS_QEMU`, `VEXFS_VIRTME_RUN`, `VEXFS_BUSYBOX` name
//! programs to be used in place of those on the path.

mod accelerator;
mod end;
mod error;
mod initramfs;
mod kernel;
mod launch;
mod lines;
mod process;
mod qemu;
mod record;
mod resources;
mod script;
mod status;
mod supervise;
mod terminal;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use machine::own_sources;
use serde::Serialize;

pub use accelerator::AcceleratorChoice;
pub use error::VmError;
use evidence::guest::{Accelerator, GuestEnd, GuestLaunch};
use evidence::kernel_log::Finding;
use evidence::place::Place;
use evidence::{TrailEnd, end_of_trail, exit};
pub use kernel::{Kernel, KernelChoice};
pub use machine::interrupt;
pub use machine::programs::{on_path as find_program, project_directories};
pub(crate) use qemu::find as find_qemu;
pub use script::COMMAND_FILE;
pub use status::{GuestStatus, STATUS_FILE};
pub use supervise::OUTPUT_FILE;

use crate::clock::ClockChoice;
use crate::project;

/// What the guest is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Run this command, program first, in the checkout.
    Command(Vec<String>),
    /// Give the person at the terminal a root shell in the checkout.
    Shell,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the first sign of life.
    pub boot: Duration,
    /// Without a line of output from the command.
    pub silence: Duration,
    /// From the start to the command's end.
    pub total: Duration,
}

impl Default for Limits {
    /// A quiet machine with two cores and emulation boots in 10 s, a busy one in 130; the silence is
    /// that of the longest single trial; the total that of a whole validation.
    fn default() -> Self {
        Limits {
            boot: Duration::from_secs(300),
            silence: Duration::from_secs(600),
            total: Duration::from_secs(3600),
        }
    }
}

/// A guest to be run.
#[derive(Debug, Clone)]
pub struct GuestRequest {
    /// Which kernel.
    pub kernel: KernelChoice,
    /// On what.
    pub accelerator: AcceleratorChoice,
    /// MiB of memory; 8 GiB if unset, less where the machine has less.
    pub memory_mib: Option<u64>,
    /// CPUs; 4 if unset, fewer where the machine has fewer.
    pub cpus: Option<u32>,
    /// What for.
    pub work: Work,
    /// Variables for the command, beside those that every command gets.
    pub environment: Vec<(String, String)>,
    /// The one directory that the guest writes through to; made if it is not there.
    pub evidence_dir: PathBuf,
    /// For how long. A shell has no limit but the boot's.
    pub limits: Limits,
    /// What its time counts. Instructions have one CPU, emulated.
    pub clock: ClockChoice,
}

impl GuestRequest {
    /// A guest with everything at its default.
    #[must_use]
    pub fn new(work: Work, evidence_dir: PathBuf) -> Self {
        GuestRequest {
            kernel: KernelChoice::default(),
            accelerator: AcceleratorChoice::default(),
            memory_mib: None,
            cpus: None,
            work,
            environment: Vec::new(),
            evidence_dir,
            limits: Limits::default(),
            clock: ClockChoice::default(),
        }
    }
}

/// Who is told while the guest runs.
pub trait Observer {
    /// Something that a person should know: what was chosen and why.
    fn notice(&mut self, text: &str);
    /// A line of the command's output; never called for a shell, which has the terminal.
    fn output(&mut self, line: &str);
    /// The kernel told of trouble.
    fn trouble(&mut self, finding: &Finding) {
        self.notice(&format!("the guest's kernel says: {}", finding.headline));
    }
    /// A line of the console.
    fn console(&mut self, _line: &str) {}
}

/// How a guest fared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuestOutcome {
    /// How it ended.
    pub end: GuestEnd,
    /// Whether it was Ctrl-C that ended it, whatever its kernel had come to by then.
    pub interrupted: bool,
    /// How it was launched.
    pub launch: GuestLaunch,
    /// Trouble that the kernel told of, in order.
    pub findings: Vec<Finding>,
    /// The last lines of the console.
    pub console_tail: Vec<String>,
    /// Type of the guest's root file system: `virtiofs`, or the slow `9p`.
    pub root_filesystem: Option<String>,
    /// Seconds from the start to the first sign of life.
    pub boot_seconds: Option<f64>,
    /// Seconds from the start to the command's first line.
    pub first_output_seconds: Option<f64>,
    /// Seconds from the start to the end.
    pub total_seconds: f64,
    /// Where its evidence ended.
    pub evidence: Option<TrailEnd>,
}

impl GuestOutcome {
    /// The exit code for a program that ran the guest: its end's, but for Ctrl-C.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.interrupted { exit::INTERRUPTED.code } else { self.end.exit_code() }
    }
}

/// The kernel that a guest boots unless another is named: `VEXFS_KERNEL`, or the default series.
///
/// # Errors
/// It, QEMU or virtme-ng is missing, and what provides it.
pub fn guest_kernel() -> Result<Kernel, VmError> {
    find_qemu()?;
    launch::virtme_run()?;
    Kernel::find(&KernelChoice::of_environment())
}

/// The program that boots a guest: what `VEXFS_VIRTME_RUN` names, or virtme-ng's.
///
/// # Errors
/// [`VmError::NoVirtme`].
pub fn launcher() -> Result<PathBuf, VmError> {
    launch::virtme_run()
}

/// What would execute a guest here, and why: a kernel is booted on KVM, unless it is known already
/// whether that works.
///
/// # Errors
/// As [`accelerator_for`].
pub fn accelerator_here() -> Result<(Accelerator, String), VmError> {
    accelerator_for(AcceleratorChoice::Auto, &KernelChoice::of_environment())
}

/// What would execute a guest with this kernel, by this choice, and why.
///
/// # Errors
/// QEMU or the kernel is missing, QEMU is too old to emulate, or KVM was demanded and does not boot
/// the kernel.
pub fn accelerator_for(
    choice: AcceleratorChoice,
    kernel: &KernelChoice,
) -> Result<(Accelerator, String), VmError> {
    let watch = interrupt::Watch::begin().map_err(VmError::system("signals cannot be watched"))?;
    let qemu = find_qemu()?;
    let kernel = Kernel::find(kernel)?;
    let decision = accelerator::decide(choice, &kernel, &qemu, &|| watch.interrupted())?;
    qemu::must_be_fit_for(&qemu, decision.accelerator)?;
    Ok((decision.accelerator, decision.reason))
}

/// Boots a guest, does its work, ends it.
///
/// # Errors
/// What keeps the guest from being started or observed: something is missing on this machine, the
/// request contradicts itself, or evidence cannot be written. Everything that becomes of a guest
/// that was started is in the outcome.
pub fn run(request: &GuestRequest, observer: &mut dyn Observer) -> Result<GuestOutcome, VmError> {
    let watch = interrupt::Watch::begin().map_err(VmError::system("signals cannot be watched"))?;
    let interrupted = || watch.interrupted();
    let qemu = find_qemu()?;
    let virtme_run = launch::virtme_run()?;
    let kernel = Kernel::find(&request.kernel)?;
    build_own_vexfs(&kernel)?;
    let evidence = evidence_dir(&request.evidence_dir)?;
    launch::must_be_shareable(&evidence)?;
    launch::must_be_shareable(project::root())?;

    let decision = accelerator::decide(accelerator_choice(request)?, &kernel, &qemu, &interrupted)?;
    qemu::must_be_fit_for(&qemu, decision.accelerator)?;
    let instruction_clock = match request.clock {
        ClockChoice::Wall => false,
        ClockChoice::Instructions => true,
        ClockChoice::Deciding => decision.accelerator == Accelerator::Tcg,
    };
    let cpus = if instruction_clock { Some(1) } else { request.cpus };
    let resources = resources::Machine::this_one()?.share(request.memory_mib, cpus)?;
    observer.notice(&match decision.accelerator {
        Accelerator::Kvm => format!("the guest runs on KVM: {}", decision.reason),
        Accelerator::Tcg => format!(
            "the guest's CPU is EMULATED (TCG), slow and no measure of real speed: {}",
            decision.reason
        ),
    });
    if instruction_clock {
        observer.notice("the guest's time counts its instructions: a clock for ratios only");
    }
    observer.notice(&format!(
        "booting kernel {} on {} CPUs with {} MiB, QEMU {}",
        kernel.release, resources.cpus, resources.memory_mib, qemu.version
    ));

    let scratch = tempfile::Builder::new()
        .prefix("vexfs-guest-")
        .tempdir()
        .map_err(VmError::system("no temporary directory can be made; make room in TMPDIR"))?;
    let token = random_token()?;
    prepare_evidence(&evidence, &token, request)?;
    let mut command = launch::Launch {
        kernel: &kernel,
        qemu: &qemu,
        accelerator: decision.accelerator,
        instruction_clock,
        resources,
        evidence: &evidence,
        token: &token,
        interactive: request.work == Work::Shell,
        scratch: scratch.path(),
    }
    .command(&virtme_run);
    let launch = GuestLaunch {
        accelerator: decision.accelerator,
        accelerator_reason: decision.reason,
        instruction_clock,
        kernel_release: kernel.release,
        memory_mib: resources.memory_mib,
        cpus: resources.cpus,
        command_line: words(&command),
        qemu,
    };
    record::write(&launch, &evidence)?;

    let seen = supervise::Watch {
        evidence: &evidence,
        scratch: scratch.path(),
        limits: request.limits,
        interactive: request.work == Work::Shell,
        interrupted: &interrupted,
    }
    .run(&mut command, observer)?;
    Ok(outcome(launch, seen, &evidence, observer))
}

fn outcome(
    launch: GuestLaunch,
    seen: supervise::Seen,
    evidence: &Path,
    observer: &mut dyn Observer,
) -> GuestOutcome {
    let status = GuestStatus::read(evidence);
    let said = |line: &&String| !line.trim().is_empty();
    let last_words = seen.console_tail.iter().rev().find(said).map_or("nothing", |line| line);
    let end = end::classify(seen.stop, status.as_ref(), &seen.findings, last_words.trim());
    let root_filesystem = status.as_ref().and_then(GuestStatus::root).map(str::to_owned);
    if root_filesystem.as_deref() == Some("9p") {
        observer.notice(
            "the guest's files came over 9p, three times SLOWER than virtiofs: virtiofsd is \
             missing or did not start; provide it with: make setup",
        );
    }
    GuestOutcome {
        end,
        interrupted: seen.stop == end::Stop::Interrupted,
        launch,
        findings: seen.findings,
        console_tail: seen.console_tail.into(),
        root_filesystem,
        boot_seconds: seen.boot.map(|time| time.as_secs_f64()),
        first_output_seconds: seen.first_output.map(|time| time.as_secs_f64()),
        total_seconds: seen.total.as_secs_f64(),
        // What cannot be read now is damage that every reader will see.
        evidence: end_of_trail(evidence, Place::Guest).unwrap_or_default(),
    }
}

/// Builds the VexFS that `vexfs.toml` gives as sources.
fn build_own_vexfs(kernel: &Kernel) -> Result<(), VmError> {
    own_sources::build_all(&kernel.release, || kernel.headers()).map_err(|failure| {
        match interrupt::interrupted() {
            true => VmError::Interrupted,
            false => VmError::OwnVexfs { why: failure.to_string() },
        }
    })
}

fn accelerator_choice(request: &GuestRequest) -> Result<AcceleratorChoice, VmError> {
    if request.clock != ClockChoice::Instructions {
        return Ok(request.accelerator);
    }
    let kvm = request.accelerator == AcceleratorChoice::Only(Accelerator::Kvm);
    if kvm || request.cpus.is_some_and(|cpus| cpus != 1) {
        return Err(VmError::InstructionClock);
    }
    Ok(AcceleratorChoice::Only(Accelerator::Tcg))
}

fn evidence_dir(path: &Path) -> Result<PathBuf, VmError> {
    fs::create_dir_all(path).map_err(VmError::evidence(path))?;
    fs::canonicalize(path).map_err(VmError::evidence(path))
}

/// Leaves what the guest needs, and nothing that an earlier guest left.
fn prepare_evidence(evidence: &Path, token: &str, request: &GuestRequest) -> Result<(), VmError> {
    let status = evidence.join(STATUS_FILE);
    match fs::remove_file(&status) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(VmError::evidence(status)(error));
        }
        _ => {}
    }
    launch::leave_token(evidence, token)?;
    script::write(evidence, &request.work, &request.environment)
}

fn words(command: &std::process::Command) -> Vec<String> {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// 128 bits that nobody can have guessed, in hexadecimal.
fn random_token() -> Result<String, VmError> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(VmError::system("/dev/urandom cannot be read"))?;
    Ok(evidence::digest::hex(&bytes))
}
