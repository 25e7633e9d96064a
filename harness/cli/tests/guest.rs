//! `vexfs-validate guest`, with shell scripts in place of QEMU and virtme-ng: every way in which a
//! guest ends has its exit code, and nothing of it is left.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use common::{runs, wait_for};
use machine::temporary::room;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::str::contains;
use rstest::rstest;

const RELEASE: &str = "6.12.0-test";

/// The beginning of every script in virtme-ng's place: finds the evidence directory as a guest
/// does.
const VIRTME: &str = r#"#!/bin/sh
for word; do
  case $word in vexfs_validation.evidence=*) evidence=${word#*=} ;; esac
done
say() { echo "$1" >"$evidence/guest-status.json"; }
up() { say '{"state":"running","root":"virtiofs"}'; }
exited() { say "{\"state\":\"exited\",\"code\":$1,\"root\":\"virtiofs\"}"; }
"#;

/// A machine with our own QEMU, virtme-ng and kernel.
struct Machine {
    room: tempfile::TempDir,
}

impl Machine {
    fn new(virtme: &str) -> Self {
        // The room is also TMPDIR, so that anything a guest leaves would be in it.
        let machine = Machine { room: room().unwrap() };
        machine.script("qemu", "#!/bin/sh\necho QEMU emulator version 10.0.2");
        machine.script("virtme-run", &format!("{VIRTME}{virtme}\n"));
        let modules = machine.path("lib/modules").join(RELEASE);
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("modules.dep"), "").unwrap();
        fs::create_dir(machine.path("boot")).unwrap();
        fs::write(machine.path("boot/vmlinuz"), kernel_image()).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn guest(&self) -> Process {
        self.command("guest", "tcg")
    }

    /// `vexfs-validate COMMAND` on this machine.
    fn command(&self, command: &str, accelerator: &str) -> Process {
        let mut process = Process::new(cargo_bin("vexfs-validate"));
        process.args([command, "--accelerator", accelerator, "--kernel"]);
        process.arg(self.path("boot/vmlinuz"));
        process.arg("--evidence").arg(self.path("evidence")).env("TMPDIR", self.room.path());
        process.env("VEXFS_QEMU", self.path("qemu"));
        process.env("VEXFS_VIRTME_RUN", self.path("virtme-run"));
        process
    }

    /// Runs a guest with further arguments and the command `true`.
    fn run(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        let mut process = self.guest();
        process.args(arguments).args(["--", "true"]);
        Command::from_std(process).timeout(Duration::from_secs(60)).assert()
    }

    /// Starts a guest of [`DEAF`]. Returns the launcher, and the pid of the machine's process.
    fn start_deaf(&self) -> (Child, i32) {
        let mut process = self.guest();
        process.args(["--", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        let launcher = process.spawn().unwrap();
        let pid = || fs::read_to_string(self.path("evidence/pid")).ok()?.trim().parse().ok();
        (launcher, wait_for(pid))
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.room.path()).unwrap().flatten();
        let is_left = |path: &Path| path.to_string_lossy().contains("/vexfs-");
        entries.map(|entry| entry.path()).filter(|path| is_left(path)).collect()
    }
}

/// A machine that writes down its pid, comes up, and ignores the signals that end a launcher.
const DEAF: &str = "echo $$ >\"$evidence/pid\"; up; trap '' INT TERM HUP; sleep 1000";

/// The header of an x86 kernel image that names its release.
fn kernel_image() -> Vec<u8> {
    let mut bytes = vec![0; 0x300];
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x20e..0x210].copy_from_slice(&0x80_u16.to_le_bytes());
    bytes[0x280..0x280 + RELEASE.len()].copy_from_slice(RELEASE.as_bytes());
    bytes
}

#[rstest]
#[case::passing("up; echo hello; exited 0", 0, "")]
#[case::failing_test("up; exited 100", 100, "")]
#[case::panic("up; echo 'Kernel panic - not syncing: test' >&2", 12, "panicked")]
#[case::oops("up; echo '[ 1.0] BUG: bad' >&2; exited 0", 13, "BUG: bad")]
#[case::gone("up", 17, "ended before its command")]
#[case::no_boot("echo 'qemu: no such option' >&2; exit 1", 11, "no such option")]
#[case::unfit(r#"say '{"state":"setup_failed","reason":"no /dev/fuse"}'"#, 10, "no /dev/fuse")]
fn every_end_has_its_exit_code(#[case] script: &str, #[case] code: i32, #[case] says: &str) {
    let machine = Machine::new(script);
    machine.run(&[]).code(code).stderr(contains(says));
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn output_and_console_are_kept_apart() {
    let machine = Machine::new("up; echo from the command; echo from the kernel >&2; exited 0");
    machine.run(&[]).success().stdout("from the command\n");
    let kept = |name: &str| fs::read_to_string(machine.path("evidence").join(name)).unwrap();
    assert_eq!(kept("guest-output.log"), "from the command\n");
    assert_eq!(kept("console.log"), "from the kernel\n");
}

#[test]
fn a_command_that_takes_too_long_is_ended() {
    let machine = Machine::new("up; while echo on; do sleep 0.1; done");
    machine.run(&["--time-limit", "1"]).code(16).stderr(contains("not done after 1 s"));
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn an_old_qemu_must_not_emulate() {
    let machine = Machine::new("");
    machine.script("qemu", "#!/bin/sh\necho QEMU emulator version 7.2.17");
    machine.run(&[]).code(10).stderr(contains("7.2.17")).stderr(contains("make setup"));
}

#[test]
fn a_full_disk_for_evidence_is_reported() {
    let machine = Machine::new("up; exited 0");
    fs::create_dir(machine.path("evidence")).unwrap();
    let log = machine.path("evidence/guest-command.sh");
    std::os::unix::fs::symlink("/dev/full", log).unwrap();
    machine.run(&[]).code(20).stderr(contains("No space left"));
}

/// The signals from Ctrl-C, a service manager and a closed terminal.
#[rstest]
#[case(Signal::SIGINT)]
#[case(Signal::SIGTERM)]
#[case(Signal::SIGHUP)]
fn a_signal_leaves_nothing_behind(#[case] signal: Signal) {
    let machine = Machine::new(DEAF);
    let (mut child, pid) = machine.start_deaf();
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!runs(pid));
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn a_killed_launcher_takes_its_guest_along() {
    let machine = Machine::new(DEAF);
    let (mut child, pid) = machine.start_deaf();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(|| (!runs(pid) && machine.leftovers().is_empty()).then_some(()));
}

/// A directory that a killed launcher left can still be read, and the report says that the launcher
/// recorded no end.
#[test]
fn a_killed_launcher_leaves_a_directory_that_works() {
    let machine = Machine::new(DEAF);
    let (mut child, pid) = machine.start_deaf();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(|| (!runs(pid)).then_some(()));
    let evidence = machine.path("evidence");
    let validate = |command: &str| {
        Command::new(cargo_bin("vexfs-validate")).arg(command).arg(&evidence).assert()
    };
    validate("verdict").code(3).stdout(contains("INCONCLUSIVE"));
    validate("report").success().stdout(contains("report.html"));
    let page = fs::read_to_string(evidence.join("report.md")).unwrap();
    assert!(page.contains("the launcher left no word on how the guest ended"), "{page}");
}

/// The host's lane is done, by a cargo that does nothing, and the guest's is at work.
#[test]
fn a_run_that_is_interrupted_in_its_guest_has_a_verdict_and_a_report() {
    let machine = Machine::new(DEAF);
    fs::create_dir(machine.path("bin")).unwrap();
    machine.script("bin/cargo", "#!/bin/sh\nexit 0\n");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut process = machine.command("run", "tcg");
    process.env("PATH", format!("{}:{path}", machine.path("bin").display()));
    let mut run = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let kept = |name: &str| fs::read_to_string(machine.path("evidence").join(name));
    let pid = wait_for(|| kept("pid").ok()?.trim().parse().ok());
    kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert!(!runs(pid));
    for said in [kept("verdict.json").unwrap(), kept("report.html").unwrap()] {
        assert!(said.contains("INCONCLUSIVE"), "{said}");
    }
    assert!(kept("host.jsonl").unwrap().contains("interrupted"), "{}", kept("host.jsonl").unwrap());
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new());
}

/// The user has seen the oops, so the evidence has to show it.
#[test]
fn an_oops_before_ctrl_c_is_the_kernels_fault() {
    let machine = Machine::new(&format!("echo '[ 1.0] BUG: bad' >&2; {DEAF}"));
    let (mut child, pid) = machine.start_deaf();
    let kept = |name: &str| fs::read_to_string(machine.path("evidence").join(name)).unwrap();
    wait_for(|| kept("console.log").contains("BUG: bad").then_some(()));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!runs(pid));
    let host = kept("host.jsonl");
    assert!(host.contains("BUG: bad") && host.contains("\"fault\":\"kernel\""), "{host}");
}

#[test]
fn a_directory_with_the_evidence_of_another_guest_is_refused() {
    let machine = Machine::new("up; exited 0");
    machine.run(&[]).success();
    machine.run(&[]).code(20).stderr(contains("host.jsonl is there already"));
}

/// Otherwise an hour of tests on the host would be in vain.
#[test]
fn a_run_that_demands_kvm_does_not_begin_without() {
    let machine = Machine::new("");
    let run = Command::from_std(machine.command("run", "kvm")).assert();
    run.code(10).stderr(contains("KVM was asked for, but")).stdout("");
    assert!(!machine.path("evidence").exists());
}

/// The evidence of a guest in which one trial passed.
const PASSED: &str = concat!(
    r#"{"v":1,"seq":0,"prev":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
    r#""time_ms":1795358701000,"place":"guest","pid":1,"event":"trial_finished","#,
    r#""trial":"dataset::generator","state":"passed","message":"","seconds":0.1}"#
);

#[test]
fn a_part_of_the_trials_is_reported_as_a_part() {
    let machine =
        Machine::new(&format!("up; echo '{PASSED}' >\"$evidence/guest.jsonl\"; exited 0"));
    machine.run(&[]).success();
    let kept = |name: &str| fs::read_to_string(machine.path("evidence").join(name)).unwrap();
    assert_eq!(kept("junit.xml").matches("<testcase ").count(), 1, "{}", kept("junit.xml"));
    let validate = |command: &str| {
        let mut process = Command::new(cargo_bin("vexfs-validate"));
        process.arg(command).arg(machine.path("evidence")).assert()
    };
    validate("verdict").code(3).stdout(contains("names no trial that the host must run"));
    validate("report").success();
    let page = kept("report.md");
    let expected = cli::expected::Expected::load().unwrap().guest.len();
    assert!(page.contains(&format!("trials that are expected there: 1 of {expected}.")), "{page}");
    assert!(page.contains(&format!("{} trials of the guest were not run", expected - 1)), "{page}");
    assert!(!page.contains("(guest) was not run") && !page.contains("damaged:"), "{page}");
    assert!(!page.contains("expected-tests manifest"), "{page}");
}

/// The evidence of a guest in which one trial began.
const BEGAN: &str = concat!(
    r#"{"v":1,"seq":0,"prev":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
    r#""time_ms":1795358701000,"place":"guest","pid":1,"event":"trial_started","trial":"module::loads"}"#
);

#[test]
fn what_failed_in_a_guest_has_its_junit_and_its_script() {
    let machine = Machine::new(&format!(
        "up; echo '{BEGAN}' >\"$evidence/guest.jsonl\"; \
         echo '[ 9.0] vexfs-validation: module::loads' >&2; \
         echo '[ 9.1] Kernel panic - not syncing: test' >&2"
    ));
    machine.run(&[]).code(12).stderr(contains("repro/*.sh"));
    let kept = |name: &str| fs::read_to_string(machine.path("evidence").join(name)).unwrap();
    let junit = kept("junit.xml");
    assert!(
        junit.contains("<error message=\"began and never ended: the guest&apos;s kernel panicked")
    );
    assert!(junit.contains("[ 9.1] Kernel panic"), "{junit}");
    let script = kept("repro/module__loads.sh");
    assert!(script.contains("--kernel '6.12.0-test' --accelerator tcg"), "{script}");
}
