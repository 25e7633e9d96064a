//! Runs a guest from start to end: tests the accelerator, boots, runs the command, and ends the
//! guest.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use evidence::clock::Clock;
use evidence::end_of_trail;
use evidence::guest::{Accelerator, GuestLaunch};
use evidence::place::Place;
use machine::{interrupt, project};

use super::accelerator::{self, AcceleratorChoice};
use super::detectors;
use super::end;
use super::error::VmError;
use super::host::Host;
use super::host_files::HostFiles;
use super::launch;
use super::outcome::GuestOutcome;
use super::qemu;
use super::record;
use super::request::{ClockChoice, GuestRequest, GuestWork, Observer};
use super::resources;
use super::script;
use super::status::{GuestStatus, STATUS_FILE};
use super::supervise;

/// How many changed files of the host a notice names.
const SHOWN: usize = 20;

/// Boots a guest with the programs and the kernel of `host`, lets it do its work, and ends it.
///
/// # Errors
/// If the guest cannot be started or observed: something is missing on this machine, the request
/// contradicts itself, or evidence cannot be written. Whatever happens to a guest that was started
/// is in the outcome instead.
pub fn run(
    host: &Host,
    request: &GuestRequest,
    observer: &mut dyn Observer,
) -> Result<GuestOutcome, VmError> {
    let signals =
        interrupt::Signals::begin().map_err(VmError::system("signals cannot be watched"))?;
    let interrupted = || signals.interrupted();
    let Host { qemu, virtme_run, kernel } = host;
    let evidence = evidence_dir(&request.evidence_dir)?;
    launch::must_be_shareable(&evidence)?;
    launch::must_be_shareable(project::root())?;
    launch::must_be_shareable(project::built())?;
    launch::must_be_there(project::root(), project::built())?;

    let decision = accelerator::decide(accelerator_choice(request)?, kernel, qemu, &interrupted)?;
    qemu::must_be_fit_for(qemu, decision.accelerator)?;
    let clock = match (request.clock, decision.accelerator) {
        (ClockChoice::Wall, _) | (ClockChoice::Deciding, Accelerator::Kvm) => Clock::Wall,
        (ClockChoice::Instructions, _) | (ClockChoice::Deciding, Accelerator::Tcg) => {
            Clock::Instructions
        }
    };
    let counts_instructions = clock == Clock::Instructions;
    let cpus = if counts_instructions { Some(1) } else { request.cpus };
    let detectors =
        if request.detectors { detectors::arguments(decision.accelerator) } else { Vec::new() };
    let resources = resources::HostResources::this_one()?.share(request.memory_mib, cpus)?;
    observer.notice(&match decision.accelerator {
        Accelerator::Kvm => format!("the guest runs on KVM: {}", decision.reason),
        Accelerator::Tcg => format!(
            "the guest's CPU is EMULATED (TCG), slow and no measure of real speed: {}",
            decision.reason
        ),
    });
    if counts_instructions {
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
        kernel,
        qemu,
        accelerator: decision.accelerator,
        clock,
        detectors: &detectors,
        resources,
        evidence: &evidence,
        token: &token,
        interactive: request.work == GuestWork::Shell,
        scratch: scratch.path(),
    }
    .command(virtme_run);
    let launch = GuestLaunch {
        accelerator: decision.accelerator,
        accelerator_reason: decision.reason,
        clock,
        kernel_release: kernel.release.clone(),
        memory_mib: resources.memory_mib,
        cpus: resources.cpus,
        detectors: detectors.iter().map(|one| (*one).to_owned()).collect(),
        command_line: words(&command),
        qemu: qemu.clone(),
    };
    record::write(&launch, &evidence)?;

    let before = HostFiles::now();
    let seen = supervise::Supervisor {
        evidence: &evidence,
        scratch: scratch.path(),
        limits: request.limits,
        interactive: request.work == GuestWork::Shell,
        interrupted: &interrupted,
    }
    .run(&mut command, observer)?;
    let host_changes = before.changes();
    if !host_changes.is_empty() {
        let shown = &host_changes[..host_changes.len().min(SHOWN)];
        let more = if host_changes.len() > SHOWN { ", and others" } else { "" };
        observer.notice(&format!(
            "files of the host changed while the guest ran, so it may have read stale data: \
             {}{more}",
            shown.join(", ")
        ));
    }
    Ok(GuestOutcome { host_changes, ..outcome(launch, seen, &evidence, observer) })
}

fn outcome(
    launch: GuestLaunch,
    seen: supervise::Observed,
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
        interrupted: seen.stop == end::StopReason::Interrupted,
        launch,
        findings: seen.findings,
        console_tail: seen.console_tail.into(),
        host_changes: Vec::new(),
        root_filesystem,
        boot_seconds: seen.boot.map(|time| time.as_secs_f64()),
        first_output_seconds: seen.first_output.map(|time| time.as_secs_f64()),
        total_seconds: seen.total.as_secs_f64(),
        // If the trail cannot be read now, every later reader will report it as damaged.
        evidence: end_of_trail(evidence, Place::Guest).unwrap_or_default(),
    }
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

/// Writes the files that the guest needs, and removes the status file of an earlier guest.
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

/// 128 random bits in hexadecimal.
fn random_token() -> Result<String, VmError> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(VmError::system("/dev/urandom cannot be read"))?;
    Ok(evidence::digest::hex(&bytes))
}
