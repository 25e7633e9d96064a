//! The command line that boots the guest.
//!
//! virtme-ng's `virtme-run` is started directly, because `vng` would join the arguments to one line
//! for a shell and add the user's own defaults.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evidence::clock::Clock;
use evidence::guest::{Accelerator, Qemu};
use machine::programs;
use machine::{place, project};

use super::error::VmError;
use super::kernel::Kernel;
use super::resources::Resources;
use super::script;

const PROGRAM: &str = "virtme-run";

/// Directories that are writable in the guest; the changes are thrown away when it ends.
const OVERLAID: [&str; 8] = ["/etc", "/lib", "/home", "/opt", "/srv", "/usr", "/var", "/tmp"];

/// The kernel silently cuts its command line at 2,048 bytes. The paths of the checkout and of the
/// evidence occur on it seven times in all; this limit leaves room for the rest.
const LONGEST_PATH: usize = 160;

/// Drivers of emulated hardware that no criterion uses. Loading them takes a third of the boot
/// under emulation.
const UNUSED_DRIVERS: &str = "kvm_amd,kvm_intel,kvm,ahci,libahci,libata,sr_mod,cdrom,sg,iTCO_wdt,\
                              i6300esb,lpc_ich,i2c_i801,aesni_intel,psmouse";

/// Longer timeouts for the kernel, because a busy host may stop an emulated CPU for tens of
/// seconds: soft lock-ups are reported after 60 s instead of 20, and so are RCU stalls.
const PATIENCE: [&str; 2] = ["watchdog_thresh=30", "rcupdate.rcu_cpu_stall_timeout=60"];

/// Skips the kernel's check at boot that ten timer interrupts arrive. A busy host may stop all
/// emulated CPUs during these ticks, and the kernel would panic with "IO-APIC + timer doesn't
/// work".
const UNTRIED_TIMER: &str = "no_timer_check";

/// Keeps the kernel log complete. By default, the kernel drops what a writer of /dev/kmsg
/// (virtme-ng's init, for example) writes beyond ten lines in five seconds. The buffer must hold
/// the longest trial's lines until they are read.
const WHOLE_LOG: [&str; 2] = ["printk.devkmsg=on", "log_buf_len=4M"];

/// One thread, and time that counts its instructions, 2 ns each. A repeated string instruction
/// counts once per byte, so the kernel is told not to copy and zero with them; its plain moves then
/// count in the same way as a program's.
const INSTRUCTION_CLOCK: [&str; 6] =
    ["-accel", "tcg,thread=single", "-icount", "shift=1", "-cpu", "max,-erms,-fsrm"];

/// Everything that determines the command line.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub kernel: &'a Kernel,
    pub qemu: &'a Qemu,
    pub accelerator: Accelerator,
    pub clock: Clock,
    /// Kernel arguments that enable detectors of memory errors; none if speed is measured.
    pub detectors: &'a [&'a str],
    pub resources: Resources,
    /// An absolute, existing path; the guest writes through to this directory.
    pub evidence: &'a Path,
    pub token: &'a str,
    /// Whether a person at a terminal uses the guest, instead of a command.
    pub interactive: bool,
    /// The directory in which virtme-ng puts its sockets and temporary files.
    pub scratch: &'a Path,
}

/// Finds virtme-ng: `VEXFS_VIRTME_RUN`, the project's virtual environment, or the PATH.
pub(super) fn virtme_run() -> Result<PathBuf, VmError> {
    programs::find("VEXFS_VIRTME_RUN", PROGRAM)
        .ok_or_else(|| VmError::NoVirtme { program: PROGRAM.to_owned() })
}

/// Refuses paths that virtme-ng or the kernel command line would garble.
pub(super) fn must_be_shareable(path: &Path) -> Result<(), VmError> {
    let fine = path.to_str().is_some_and(|text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-./".contains(c);
        text.len() <= LONGEST_PATH && text.chars().all(allowed)
    });
    if fine {
        return Ok(());
    }
    Err(VmError::SharedPath { path: path.to_owned(), limit: LONGEST_PATH })
}

impl Launch<'_> {
    /// The complete command.
    pub(super) fn command(&self, virtme_run: &Path) -> Command {
        let mut command = Command::new(virtme_run);
        command.args(self.arguments());
        // With this TMPDIR, files that virtme-ng leaves when it is killed lie in a directory that
        // is removed.
        command.env("TMPDIR", self.scratch).env("PATH", programs::search_path());
        command.current_dir(project::root());
        command
    }

    fn arguments(&self) -> Vec<OsString> {
        let checkout = project::root();
        let mut all: Vec<OsString> = Vec::new();
        let mut option = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
            all.extend([OsString::from(name), value.as_ref().to_owned()]);
        };
        option("--name", &"vexfs-validation");
        option("--qemu-bin", &self.qemu.path);
        option("--kimg", &self.kernel.image);
        option("--mods", &"auto");
        option("--memory", &format!("{}M", self.resources.memory_mib));
        option("--cpus", &self.resources.cpus.to_string());
        option("--cwd", &checkout);
        for directory in overlaid(checkout, project::built()) {
            option("--overlay-rwdir", &directory);
        }
        option("--rwdir", &self.evidence);
        if self.interactive {
            option("--shell", &script::init());
        } else {
            option("--script-sh", &format!("exec {}", script::init().display()));
        }
        for argument in self.kernel_arguments() {
            option("--kopt", &argument);
        }
        // Use q35 with and without KVM, so that results of the two differ by the accelerator alone.
        all.push("--disable-microvm".into());
        if self.accelerator == Accelerator::Tcg {
            all.push("--disable-kvm".into());
        }
        if !self.interactive {
            all.extend(["--verbose", "--show-boot-console"].map(OsString::from));
        }
        all.push("--qemu-opts".into());
        all.extend(self.qemu_options().iter().map(OsString::from));
        all
    }

    fn kernel_arguments(&self) -> Vec<String> {
        let evidence = self.evidence.display();
        let mut arguments = vec![
            format!("{}{}", place::TOKEN_KEY, self.token),
            format!("{}{evidence}", place::EVIDENCE_KEY),
            format!("module_blacklist={UNUSED_DRIVERS}"),
        ];
        arguments.extend(PATIENCE.map(str::to_owned));
        arguments.extend(WHOLE_LOG.map(str::to_owned));
        arguments.extend(self.detectors.iter().map(|one| (*one).to_owned()));
        if self.accelerator == Accelerator::Tcg {
            arguments.push(UNTRIED_TIMER.to_owned());
        }
        arguments
    }

    fn qemu_options(&self) -> &'static [&'static str] {
        match (self.accelerator, self.clock) {
            // Without the fallback to emulation, which virtme-ng would ask for.
            (Accelerator::Kvm, _) => &["-machine", "q35,accel=kvm"],
            (Accelerator::Tcg, Clock::Wall) => &["-accel", "tcg,thread=multi"],
            (Accelerator::Tcg, Clock::Instructions) => &INSTRUCTION_CLOCK,
        }
    }
}

/// The overlaid directories, and also the checkout and the directory into which cargo builds, where
/// none of the others contains it: nextest writes there.
fn overlaid(checkout: &Path, built: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = OVERLAID.iter().map(PathBuf::from).collect();
    all.retain(|directory| directory.is_dir());
    for needed in [checkout, built] {
        if !all.iter().any(|directory| needed.starts_with(directory)) {
            all.push(needed.to_owned());
        }
    }
    all
}

/// Refuses a directory into which cargo builds that the guest would not see: /tmp is its own there.
pub(super) fn must_be_there(checkout: &Path, built: &Path) -> Result<(), VmError> {
    let hidden = built.starts_with("/tmp") && !built.starts_with(checkout);
    if hidden { Err(VmError::BuiltInTmp { path: built.to_owned() }) } else { Ok(()) }
}

/// Writes the token that tells the guest that it is the guest. The second line is this boot's id: a
/// host that reads its own token is still the host.
pub(super) fn leave_token(evidence: &Path, token: &str) -> Result<(), VmError> {
    let path = evidence.join(place::TOKEN_FILE);
    fs::write(&path, format!("{token}\n{}\n", place::boot_id())).map_err(VmError::evidence(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(accelerator: Accelerator, clock: Clock) -> String {
        let kernel = Kernel {
            release: "6.12.117".into(),
            image: "/boot/vmlinuz-6.12.117".into(),
            modules: "/lib/modules/6.12.117".into(),
        };
        let qemu = Qemu { path: "/usr/bin/qemu-system-x86_64".into(), version: "10.0.2".into() };
        let launch = Launch {
            kernel: &kernel,
            qemu: &qemu,
            accelerator,
            clock,
            detectors: &["page_poison=1"],
            resources: Resources { memory_mib: 8192, cpus: 4 },
            evidence: Path::new("/evidence"),
            token: "abc",
            interactive: false,
            scratch: Path::new("/tmp/scratch"),
        };
        let all: Vec<String> =
            launch.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        all.join(" ")
    }

    #[test]
    fn the_guest_is_marked_and_shares_the_evidence() {
        let line = arguments(Accelerator::Tcg, Clock::Wall);
        for part in [
            "--kopt vexfs_validation.token=abc",
            "--kopt vexfs_validation.evidence=/evidence",
            "--rwdir /evidence",
            "--memory 8192M --cpus 4",
            "--kopt page_poison=1",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn the_accelerator_is_forced() {
        let tcg = arguments(Accelerator::Tcg, Clock::Wall);
        assert!(tcg.contains("--disable-kvm"), "{tcg}");
        assert!(tcg.ends_with("--qemu-opts -accel tcg,thread=multi"), "{tcg}");
        assert!(tcg.contains("--kopt no_timer_check"), "{tcg}");
        let kvm = arguments(Accelerator::Kvm, Clock::Wall);
        assert!(!kvm.contains("no_timer_check"), "{kvm}");
        assert!(!kvm.contains("--disable-kvm"), "{kvm}");
        assert!(kvm.ends_with("accel=kvm"), "{kvm}");
        assert!(arguments(Accelerator::Tcg, Clock::Instructions).contains("-icount shift=1"));
    }

    #[rstest::rstest]
    #[case::both_elsewhere("/data/project", "/scratch/target", &["/data/project", "/scratch/target"])]
    #[case::inside("/data/project", "/data/project/target", &["/data/project"])]
    #[case::built_elsewhere("/home/me/project", "/scratch/target", &["/scratch/target"])]
    #[case::at_home("/home/me/project", "/home/me/project/target", &[])]
    fn what_is_needed_is_writable_once(
        #[case] checkout: &str,
        #[case] built: &str,
        #[case] due: &[&str],
    ) {
        let mut all = overlaid(Path::new(checkout), Path::new(built));
        all.retain(|directory| !OVERLAID.iter().any(|one| directory == Path::new(one)));
        assert_eq!(all, due.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn programs_that_the_guest_would_not_see_are_refused_in_a_sentence() {
        let project = Path::new("/home/me/project");
        must_be_there(project, Path::new("/data/target")).unwrap();
        must_be_there(project, &project.join("target")).unwrap();
        let refused = must_be_there(project, Path::new("/tmp/target")).unwrap_err().to_string();
        assert!(
            refused.contains("/tmp/target") && refused.contains("CARGO_TARGET_DIR"),
            "{refused}"
        );
    }

    #[rstest::rstest]
    #[case("/srv/vexfs-validation_2/target", true)]
    #[case("/srv/my project", false)]
    #[case("/srv/a,b", false)]
    fn garbled_paths_are_refused(#[case] path: &str, #[case] fine: bool) {
        assert_eq!(must_be_shareable(Path::new(path)).is_ok(), fine);
        let long = PathBuf::from(format!("/{}", "x".repeat(LONGEST_PATH)));
        assert!(must_be_shareable(&long).is_err());
    }
}
