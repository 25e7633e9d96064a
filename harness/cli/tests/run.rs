//! `vexfs-validate run`, with a shell script in place of cargo: however the run ends, it leaves a
//! directory that `verdict` and `report` can read, and no process.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use assert_cmd::cargo::cargo_bin;
use common::{runs, wait_for};
use evidence::place::Place;
use evidence::{Event, Writer};
use machine::temporary::room;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

/// A machine with our own cargo.
struct Machine {
    room: tempfile::TempDir,
}

impl Machine {
    fn new(cargo: &str) -> Self {
        let machine = Machine { room: room().unwrap() };
        fs::create_dir(machine.path("bin")).unwrap();
        let program = machine.path("bin/cargo");
        fs::write(&program, format!("#!/bin/sh\n{cargo}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// `program`, with the machine's cargo in PATH.
    fn process(&self, program: &Path) -> Process {
        let mut process = Process::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        process.env("PATH", format!("{}:{path}", self.path("bin").display()));
        process.env("ROOM", self.room.path());
        process
    }

    /// Starts a run and adds the start of a trial to its evidence. Returns the run, and the pid of
    /// its cargo.
    fn start(&self) -> (Child, i32) {
        let mut process = self.process(&cargo_bin("vexfs-validate"));
        process.args(["run", "--evidence"]).arg(self.path("evidence"));
        process.stdout(Stdio::null()).stderr(Stdio::null());
        let run = process.spawn().unwrap();
        let pid = || fs::read_to_string(self.path("pid")).ok()?.trim().parse().ok();
        let cargo = wait_for(pid);
        let writer = Writer::open(&self.path("evidence"), Place::Host).unwrap();
        writer.write(Event::TrialStarted { trial: "dataset::generator".into() }).unwrap();
        (run, cargo)
    }

    /// Checks that `verdict` and `report` work on the run's directory, and name the trial.
    fn check_directory(&self) {
        let evidence = self.path("evidence");
        validate(&["verdict", "--json"], &evidence)
            .code(3)
            .stdout(contains("dataset::generator (host) began and never ended"));
        validate(&["report"], &evidence).success();
        let page = fs::read_to_string(evidence.join("report.html")).unwrap();
        assert!(page.contains("dataset::generator (host) began and never ended"));
        let junit = fs::read_to_string(evidence.join("junit.xml")).unwrap();
        assert!(junit.contains("<error message=\"began and never ended: the run was cut short"));
        assert!(evidence.join("repro/dataset__generator.sh").is_file());
    }
}

fn validate(arguments: &[&str], dir: &Path) -> Assert {
    Command::new(cargo_bin("vexfs-validate")).args(arguments).arg(dir).assert()
}

/// Writes down its pid, and ends on a signal, as nextest does.
const WAITING: &str = "trap 'exit 100' TERM; echo $$ >\"$ROOM/pid.new\"; \
                       mv \"$ROOM/pid.new\" \"$ROOM/pid\"; \
                       sleep 1000 & trap \"kill $!; exit 100\" TERM; wait";

#[test]
fn an_interrupted_run_leaves_a_directory_that_works() {
    let machine = Machine::new(WAITING);
    let (mut run, cargo) = machine.start();
    kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert!(!runs(cargo));
    // The run has written these itself, without another command.
    let verdict = fs::read_to_string(machine.path("evidence/verdict.json")).unwrap();
    let page = fs::read_to_string(machine.path("evidence/report.html")).unwrap();
    for said in [verdict, page] {
        assert!(said.contains("dataset::generator (host) began and never ended"), "{said}");
    }
    machine.check_directory();
}

#[test]
fn a_killed_run_leaves_a_directory_that_works() {
    let machine = Machine::new(WAITING);
    let (mut run, cargo) = machine.start();
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for(|| (!runs(cargo)).then_some(()));
    machine.check_directory();
}

/// The disk is a tmpfs, in a mount namespace that ends with the shell.
#[test]
fn a_disk_that_fills_up_ends_the_run_and_leaves_what_was_finished() {
    const FILL: &str = "head -c 1M /dev/zero >\"$ROOM/evidence/console.log\" 2>/dev/null; exit 100";
    const SCRIPT: &str = "mount -t tmpfs -o size=64k none \"$ROOM/evidence\" || exit 99
        \"$0\" run --evidence \"$ROOM/evidence\"; echo \"run ended with $?\"
        \"$0\" verdict \"$ROOM/evidence\"; echo \"verdict ended with $?\"
        \"$0\" report \"$ROOM/evidence\"; echo \"report there ended with $?\"
        \"$0\" report \"$ROOM/evidence\" --into \"$ROOM\"; echo \"report elsewhere ended with $?\"";
    let machine = Machine::new(FILL);
    fs::create_dir(machine.path("evidence")).unwrap();
    let mut process = machine.process(Path::new("unshare"));
    process.arg("--mount");
    if !nix::unistd::geteuid().is_root() {
        process.arg("--map-root-user");
    }
    process.args(["sh", "-c", SCRIPT]).arg(cargo_bin("vexfs-validate"));
    Command::from_std(process)
        .timeout(Duration::from_secs(60))
        .assert()
        .success()
        .stdout(
            contains("run ended with 20\n")
                .and(contains("verdict ended with 3\n"))
                .and(contains("report there ended with 20\n"))
                .and(contains("report elsewhere ended with 0\n")),
        )
        .stderr(contains("No space left").and(contains("free some space")));
    let page = fs::read_to_string(machine.path("report.md")).unwrap();
    assert!(page.contains("INCONCLUSIVE") && page.contains("verdict.json: "), "{page}");
}

#[test]
fn only_the_criterion_that_is_named_is_run() {
    let machine = Machine::new("echo \"$@\" >\"$ROOM/words\"; exit 100");
    let mut process = machine.process(&cargo_bin("vexfs-validate"));
    process.args(["run", "--only", "fuse", "--evidence"]).arg(machine.path("evidence"));
    // No trial has passed, so no guest is booted.
    Command::from_std(process).assert().code(3).stdout(contains("FUSE is not preserved"));
    let words = fs::read_to_string(machine.path("words")).unwrap();
    assert!(words.contains("and (binary(fuse))"), "{words}");
    Command::new(cargo_bin("vexfs-validate"))
        .args(["run", "--only", "speed"])
        .assert()
        .code(2)
        .stderr(contains("possible values: fuse, baseline, dataset, module, kernel_vs_fuse"));
}

#[test]
fn a_directory_with_the_evidence_of_another_run_is_refused() {
    let machine = Machine::new("exit 100");
    let run = || {
        let mut process = machine.process(&cargo_bin("vexfs-validate"));
        process.args(["run", "--evidence"]).arg(machine.path("evidence"));
        Command::from_std(process).assert()
    };
    run().code(3);
    run().code(20).stderr(contains("the results of another run would pass for this one's"));
}
