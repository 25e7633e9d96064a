//! `vexfs-validate` from the user's side: bad input gets a clear message, the next step and a
//! documented exit code.

use std::fs;
use std::os::unix::fs::symlink;

use assert_cmd::Command;
use evidence::exit::{self, Exit};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use serial_test::file_serial;

fn vexfs_validate(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("vexfs-validate").expect("the program is built");
    command.args(arguments).env("NO_COLOR", "1").env_remove("VEXFS_KERNEL");
    command
}

fn code(exit: Exit) -> i32 {
    i32::from(exit.code)
}

#[test]
fn place_says_where_and_how_it_knows() {
    vexfs_validate(&["place"])
        .assert()
        .success()
        .stdout(contains("CPUID 0x40000000").and(contains("kernel command line: token")));
}

#[test]
fn help_lists_every_exit_code() {
    let mut assertion = vexfs_validate(&["--help"]).assert().success();
    for exit in exit::ALL {
        assertion = assertion.stdout(contains(exit.meaning));
    }
}

/// `| head` closes the pipe once it has enough.
#[test]
fn a_closed_pipe_ends_nothing_with_a_panic() {
    let words = ["list", "place", "completion bash", "sabotaged", "--help", "list --help"];
    for line in words {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let program = assert_cmd::cargo::cargo_bin("vexfs-validate");
        let said = std::process::Command::new(program)
            .args(line.split_whitespace())
            .stdout(writer)
            .output()
            .expect("it is started");
        let complained = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.code().is_some_and(|code| code < 100), "{line}: {}", said.status);
        assert!(!complained.contains("panicked"), "{line}: {complained}");
    }
}

/// The program starts itself again with a usable directory, and not for ever.
#[test]
fn an_unusable_tmpdir_is_no_error() {
    for directory in ["relative", "/nonexistent", "/proc"] {
        vexfs_validate(&["place"])
            .env("TMPDIR", directory)
            .timeout(std::time::Duration::from_secs(60))
            .assert()
            .success()
            .stdout(contains("kernel command line: token"));
    }
}

#[test]
fn a_shell_in_the_guest_needs_a_terminal() {
    vexfs_validate(&["guest"])
        .timeout(std::time::Duration::from_secs(60))
        .assert()
        .code(code(exit::USAGE))
        .stderr(contains("needs a terminal").and(contains("vexfs-validate guest -- COMMAND")));
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    vexfs_validate(&["frobnicate"]).assert().code(code(exit::USAGE));
}

#[test]
fn a_verdict_needs_evidence() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    vexfs_validate(&["verdict"])
        .arg(dir.path())
        .assert()
        .code(code(exit::EVIDENCE))
        .stderr(contains("holds no evidence").and(contains("target/validation/latest")));
    vexfs_validate(&["verdict", "/nonexistent"]).assert().code(code(exit::EVIDENCE));
}

#[test]
fn evidence_that_is_cut_off_is_inconclusive() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("host.jsonl"), "{\"v\":1,\"seq\":0,").expect("written");
    vexfs_validate(&["verdict"])
        .arg(dir.path())
        .assert()
        .code(code(exit::INCONCLUSIVE))
        .stdout(contains("cut off in the middle").and(contains("NOT ELIGIBLE")));
}

#[test]
fn a_run_that_was_cut_off_has_its_report() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("host.jsonl"), "{\"v\":1,\"seq\":0,").expect("written");
    vexfs_validate(&["report"]).arg(dir.path()).assert().success().stdout(contains("report.html"));
    let page = fs::read_to_string(dir.path().join("report.html")).expect("the page");
    assert!(page.contains("cut off in the middle") && page.contains("INCONCLUSIVE"));
    vexfs_validate(&["report", "/nonexistent"]).assert().code(code(exit::EVIDENCE));
}

/// Offline and from the directory alone, the verdict is the same, byte for byte, as when the run
/// ended.
#[test]
fn a_verdict_is_recomputed_byte_for_byte() {
    let runs = machine::project::root().join("harness/verdict/tests/runs");
    let mut compared = 0;
    for run in fs::read_dir(runs).expect("golden runs").flatten() {
        let Ok(before) = fs::read_to_string(run.path().join("verdict.json")) else { continue };
        let output = vexfs_validate(&["verdict", "--json"]).arg(run.path()).output();
        let output = output.expect("vexfs-validate can be started");
        assert!(output.stdout == before.as_bytes(), "{}", run.path().display());
        let verdict: serde_json::Value = serde_json::from_str(&before).expect("JSON");
        assert_eq!(output.status.code().map(i64::from), verdict["exit_code"].as_i64());
        compared += 1;
    }
    assert!(compared >= 12, "{compared}");
}

#[test]
fn two_runs_are_compared() {
    let runs = machine::project::root().join("harness/verdict/tests/runs");
    vexfs_validate(&["diff"])
        .args([runs.join("emulated"), runs.join("failed")])
        .assert()
        .success()
        .stdout(
            contains("verdict: PASS -> FAIL").and(contains("module::loads (guest): passed ->")),
        );
    vexfs_validate(&["diff", "/nonexistent", "/nonexistent"])
        .assert()
        .code(code(exit::EVIDENCE))
        .stderr(contains("two runs"));
}

#[test]
fn a_machine_without_programs_is_told_what_provides_them() {
    vexfs_validate(&["doctor"])
        .env("VEXFS_QEMU", "/nonexistent/qemu")
        .assert()
        .code(code(exit::SETUP))
        .stdout(contains("missing  QEMU").and(contains("-> provide it with: make setup")))
        .stdout(contains("\u{1b}").not());
}

/// The configured program, not the reference's.
#[test]
fn the_doctor_names_the_benchmark_that_is_configured() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("vexfs.toml");
    fs::write(dir.path().join("mine.sh"), "").expect("written");
    fs::write(&config, "benchmark = './mine.sh {mountpoint}'\n").expect("written");
    let mine = format!("ok       the benchmark: {}/./mine.sh\n", dir.path().display());
    vexfs_validate(&["doctor"])
        .env("VEXFS_QEMU", "/nonexistent/qemu")
        .env("VEXFS_CONFIG", &config)
        .assert()
        .code(code(exit::SETUP))
        .stdout(contains(mine).and(contains("anns_benchmark_test").not()));
}

/// Otherwise every trial would fail with the same message.
#[rstest::rstest]
#[case::no_file(None, "vexfs.toml cannot be read")]
#[case::no_toml(Some("fuse = "), "vexfs.toml is refused")]
#[case::unknown_key(Some("fues = 'daemon'"), "unknown field `fues`")]
#[case::no_program(Some("fuse = 'nosuch'"), "nosuch is no file")]
fn a_refused_configuration_starts_nothing(#[case] text: Option<&str>, #[case] words: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (config, evidence) = (dir.path().join("vexfs.toml"), dir.path().join("evidence"));
    if let Some(text) = text {
        fs::write(&config, text).expect("written");
    }
    let commands: [(&[&str], &[&str]); 3] =
        [(&["run"], &[]), (&["guest"], &["--", "true"]), (&["soak", "2", "--only", "fuse"], &[])];
    for (command, last) in commands {
        vexfs_validate(command)
            .arg("--evidence")
            .arg(&evidence)
            .args(last)
            .env("VEXFS_CONFIG", &config)
            .assert()
            .code(code(exit::SETUP))
            .stderr(contains(words).count(1).and(contains("docs/own-vexfs.md")))
            .stdout("");
        assert!(!evidence.exists(), "{command:?}");
    }
}

#[test]
fn a_full_disk_ends_a_run_before_it_begins() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    symlink("/dev/full", dir.path().join("host.jsonl")).expect("linked");
    vexfs_validate(&["run", "--evidence"])
        .arg(dir.path())
        .assert()
        .code(code(exit::EVIDENCE))
        .stderr(contains("No space left").and(contains("--evidence")));
}

#[test]
fn evidence_goes_into_directories_only() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    vexfs_validate(&["run", "--evidence"])
        .arg(file.path())
        .assert()
        .code(code(exit::EVIDENCE))
        .stderr(contains("name another directory"));
}

#[test]
fn a_kernel_without_headers_gets_no_module() {
    Command::new(machine::project::root().join("fixtures/vexfs/kernel/build.sh"))
        .args(["--kernel", "9.99.0-nosuch"])
        .assert()
        .code(3)
        .stderr(contains("no headers for kernel 9.99.0-nosuch").and(contains("apt-get install")));
}

#[test]
fn a_directory_without_a_soak_is_refused() {
    let runs = machine::project::root().join("harness/verdict/tests/runs");
    for command in ["verdict", "report"] {
        vexfs_validate(&[command])
            .arg(runs.join("emulated"))
            .arg("--soak")
            .arg(runs.join("failed"))
            .assert()
            .code(code(exit::EVIDENCE))
            .stderr(contains("failed holds no soak of the module"));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    vexfs_validate(&["run", "--evidence"])
        .arg(dir.path())
        .arg("--soak")
        .arg(runs.join("failed"))
        .assert()
        .code(code(exit::EVIDENCE))
        .stderr(contains("cannot be taken as a soak"));
}

#[rstest::rstest]
#[case::neither(&[], "--for")]
#[case::both(&["2", "--for", "2h"], "cannot be used with")]
#[case::no_criterion(&["2"], "--only")]
#[case::unknown_criterion(&["2", "--only", "speed"], "kernel_vs_fuse")]
#[case::never(&["0", "--only", "fuse"], "0 is not in 1..")]
#[case::no_time(&["--for", "long"], "--for")]
fn a_soak_says_what_it_needs(#[case] arguments: &[&str], #[case] message: &str) {
    vexfs_validate(&["soak"])
        .args(arguments)
        .assert()
        .code(code(exit::USAGE))
        .stderr(contains(message));
}

#[rstest::rstest]
#[case::bash("bash", "-F _vexfs__validate")]
#[case::zsh("zsh", "#compdef vexfs-validate")]
#[case::fish("fish", "complete -c vexfs-validate")]
fn a_shell_gets_its_completions(#[case] shell: &str, #[case] words: &str) {
    vexfs_validate(&["completion", shell])
        .assert()
        .success()
        .stdout(contains(words).and(contains("soak")).and(contains("matrix")));
}

#[test]
fn completions_that_cannot_be_written_are_no_panic() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin("vexfs-validate"))
        .args(["completion", "bash"])
        .stdout(full)
        .status()
        .expect("started");
    assert_eq!(status.code(), Some(code(exit::EVIDENCE)));
}

#[test]
fn in_guest_refuses_the_host() {
    for command in ["in-guest", "in-guest-soak"] {
        vexfs_validate(&[command])
            .assert()
            .code(code(exit::USAGE))
            .stderr(contains("this is the host"));
    }
}

/// The launcher's own errors. One test at a time, since each examines the machine's programs.
mod guest {
    use super::*;

    fn guest(arguments: &[&str]) -> (tempfile::TempDir, Command) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = vexfs_validate(&["guest", "--evidence"]);
        command.arg(dir.path()).args(arguments).args(["--", "true"]);
        (dir, command)
    }

    #[rstest::rstest]
    #[case::qemu("VEXFS_QEMU", "QEMU is missing")]
    #[case::virtme("VEXFS_VIRTME_RUN", "virtme-ng is missing")]
    #[file_serial(launcher)]
    fn names_the_program_that_is_missing(#[case] variable: &str, #[case] message: &str) {
        let (_dir, mut command) = guest(&[]);
        command
            .env(variable, "/nonexistent/program")
            .assert()
            .code(code(exit::SETUP))
            .stderr(contains(message).and(contains("make setup")));
    }

    #[rstest::rstest]
    #[case::path("/nonexistent/vmlinuz", "/nonexistent/vmlinuz is not there")]
    #[case::version("9.99", "no kernel 9.99 is installed")]
    #[case::no_kernel("/etc/passwd", "is not an x86 Linux kernel image")]
    #[file_serial(launcher)]
    fn names_the_kernel_that_is_not_there(#[case] kernel: &str, #[case] message: &str) {
        let (_dir, mut command) = guest(&["--kernel", kernel]);
        command.assert().code(code(exit::SETUP)).stderr(contains(message));
    }

    #[test]
    #[file_serial(launcher)]
    fn more_memory_than_there_is_is_refused() {
        let (_dir, mut command) = guest(&["--memory", "99999999", "--accelerator", "tcg"]);
        command.assert().code(code(exit::USAGE)).stderr(contains("99999999 MiB"));
    }
}
