//! The scripts of `repro/`, run in a checkout whose programs only record how they were called.

use evidence::processor::Processor;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use evidence::clock::Clock;
use evidence::guest::{Accelerator, GuestLaunch};
use evidence::place::Place;
use evidence::{Event, TrialState, Writer};

use super::golden::golden;
use crate::made::{finished, launch, machine};
use crate::report::repro;
use crate::report::run::Run;

/// The only script of a golden run.
fn script(case: &str) -> String {
    let mut scripts = repro::scripts(&Run::read(&golden(case), &[]).unwrap());
    assert_eq!(scripts.len(), 1, "{case}");
    scripts.remove(0).text
}

#[rstest::rstest]
#[case::failed("failed")]
#[case::panicked("panicked")]
#[case::interrupted("interrupted")]
fn a_script_is_as_shellcheck_likes_it(#[case] case: &str) {
    let into = tempfile::tempdir().unwrap();
    let run = Run::read(&golden(case), &[]).unwrap();
    repro::write(&run, into.path()).unwrap();
    for entry in fs::read_dir(into.path().join(repro::DIRECTORY)).unwrap() {
        let path = entry.unwrap().path();
        let checked = Command::new("shellcheck").arg(&path).output();
        let checked = checked.expect("shellcheck can be started; make setup provides it");
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success(), "{said}\n{}", fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn a_script_repeats_the_place_and_the_machine() {
    insta::assert_snapshot!(script("failed"));
}

#[test]
fn a_run_that_passed_has_no_script() {
    for case in ["emulated", "as-on-kvm", "inconclusive", "vanished"] {
        assert!(repro::scripts(&Run::read(&golden(case), &[]).unwrap()).is_empty(), "{case}");
    }
}

/// A directory in which programs can be executed. The directory for temporary files may forbid
/// that.
fn room() -> tempfile::TempDir {
    let program = std::env::current_exe().unwrap();
    tempfile::tempdir_in(program.parent().unwrap()).unwrap()
}

/// A checkout whose programs write down how they were called.
fn checkout() -> tempfile::TempDir {
    let dir = room();
    let program = |path: &str, end: &str, first: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = format!(
            "#!/bin/sh\n{first}echo \"{name} $* looks=$VEXFS_VALIDATION_LOOKS\" >>calls\nexit {end}\n"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program(".cache/tools/bin/make", "0", "");
    // It builds elsewhere.
    let metadata = r#"{"packages":[],"target_directory":"built elsewhere","version":1}"#;
    program(
        ".cache/tools/bin/cargo",
        "100",
        &format!("if [ \"$1\" = metadata ]; then echo '{metadata}'; exit; fi\n"),
    );
    program("built elsewhere/debug/vexfs-validate", "100", "");
    fs::create_dir(dir.path().join("fixtures")).unwrap();
    fs::write(dir.path().join("fixtures/expected-tests.json"), "{}").unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
        let git = Command::new("git").current_dir(&dir).args(identity).args(arguments).output();
        assert!(git.unwrap().status.success(), "git {arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "fixtures"]);
    git(&["commit", "--quiet", "--message", "all"]);
    dir
}

/// Runs `text` in the checkout, and returns its standard error, its exit code, and what it called.
fn repeat(text: &str, checkout: &Path) -> (String, Option<i32>, String) {
    let directory = checkout.join("target/run/repro");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("it.sh"), text).unwrap();
    let done =
        Command::new("bash").current_dir(checkout).arg(directory.join("it.sh")).output().unwrap();
    let calls = fs::read_to_string(checkout.join("calls")).unwrap_or_default();
    (String::from_utf8_lossy(&done.stderr).into_owned(), done.status.code(), calls)
}

#[test]
fn a_script_runs_exactly_its_trial() {
    let checkout = checkout();
    let (said, code, calls) = repeat(&script("failed"), checkout.path());
    assert_eq!(code, Some(100), "{said}");
    assert!(said.contains("the run was of 0123456789abcdef"), "{said}");
    assert_eq!(
        calls,
        "make build KERNEL=6.12.117+deb12-amd64 looks=1\n\
         vexfs-validate guest --kernel 6.12.117+deb12-amd64 --accelerator tcg --cpus 2 \
         --memory 8192 -- cargo nextest run --locked --profile vm \
         -E package(vexfs-validation) and test(=module::loads) looks=1\n"
    );
}

#[test]
fn a_trial_of_the_host_is_run_there() {
    let checkout = checkout();
    let (said, code, calls) = repeat(&script("interrupted"), checkout.path());
    assert_eq!(code, Some(100), "{said}");
    let last = calls.lines().last().unwrap();
    assert!(last.starts_with("cargo nextest run --locked --profile ci -E"), "{last}");
}

#[test]
fn elsewhere_a_script_does_nothing() {
    let elsewhere = tempfile::tempdir().unwrap();
    let git = Command::new("git").current_dir(&elsewhere).args(["init", "--quiet"]).status();
    assert!(git.unwrap().success());
    let (said, code, calls) = repeat(&script("failed"), elsewhere.path());
    assert_eq!((code, calls.as_str()), (Some(2), ""));
    assert!(said.contains("is no checkout of vexfs-validation"), "{said}");
}

/// Evidence may come from anywhere: neither a name nor a message in it becomes a command or a path.
#[test]
fn nothing_in_the_evidence_is_executed() {
    let dir = tempfile::tempdir().unwrap();
    let trial = "fuse::../../x$(touch executed)'\ntouch executed\n";
    let writer = Writer::open(dir.path(), Place::Host).unwrap();
    let why = "why\ntouch executed\r\ntouch executed";
    for event in finished(trial, TrialState::Failed, why) {
        writer.write(event).unwrap();
    }
    let script = repro::scripts(&Run::read(dir.path(), &[]).unwrap()).remove(0);
    assert_eq!(script.name, "fuse__------x--touch-executed---touch-executed-.sh");
    let checkout = checkout();
    let (said, code, _) = repeat(&script.text, checkout.path());
    assert_eq!(code, Some(100), "{said}");
    assert!(!checkout.path().join("executed").exists(), "{}", script.text);
}

/// Without KVM, a run boots twice, the second time with one CPU whose instructions are counted.
#[test]
fn a_trial_is_repeated_in_the_boot_that_it_failed_in() {
    let dir = tempfile::tempdir().unwrap();
    let write = |place, event| Writer::open(dir.path(), place).unwrap().write(event).unwrap();
    for (clock, trial) in
        [(Clock::Wall, "module::loads"), (Clock::Instructions, "dataset::digests")]
    {
        let by_instructions = clock == Clock::Instructions;
        let launched = GuestLaunch {
            clock,
            cpus: if by_instructions { 1 } else { 4 },
            memory_mib: if by_instructions { 4096 } else { 8192 },
            ..launch(Accelerator::Tcg, "a golden run")
        };
        write(Place::Host, Event::GuestLaunched(Box::new(launched)));
        let mut environment = machine(Processor::Tcg);
        (environment.clock, environment.cpus) = (Some(clock), 4);
        write(Place::Guest, Event::Environment(Box::new(environment)));
        for event in finished(trial, TrialState::Failed, "EINVAL") {
            write(Place::Guest, event);
        }
    }
    let run = Run::read(dir.path(), &[]).unwrap();
    let scripts: Vec<String> = repro::scripts(&run).into_iter().map(|one| one.text).collect();
    assert!(scripts[0].contains("--clock instructions --memory 4096"), "{}", scripts[0]);
    assert!(scripts[1].contains("--cpus 4 --memory 8192"), "{}", scripts[1]);
    let page = crate::report::markdown(&run);
    assert!(page.contains("The virtual machine, boot 1 of 2"), "{page}");
    assert!(page.contains("4 CPUs, 8192 MiB") && page.contains("1 CPUs, 4096 MiB"), "{page}");
}
