//! A third party's benchmark program in the place of ours: honest, idle and lying.

use std::path::PathBuf;

use harness::benchmark::{self, Report};
use harness::config::Command;
use harness::failure::Failure;
use harness::fuse::FuseMount;
use vexfs_uapi::Home;

fn program(name: &str, arguments: &[&str]) -> Command {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/benchmark");
    let arguments = [&[name, "{mountpoint}"], arguments].concat();
    let arguments = arguments.into_iter().map(str::to_owned).collect();
    Command { program: "python3".into(), arguments, directory }
}

/// On a freshly mounted FUSE daemon, which must come down again whatever became of it.
fn run(program: &Command, home: Home) -> Result<Report, Failure> {
    let mount = FuseMount::under_test().unwrap();
    let outcome = benchmark::run(program, mount.path(), home);
    mount.unmount().unwrap();
    outcome
}

fn refused(program: &Command) -> String {
    run(program, Home::Fuse).unwrap_err().to_string()
}

#[test]
fn an_honest_program_is_believed() {
    let report = run(&program("vexfs_bench.py", &[]), Home::Fuse).unwrap();
    // It has removed its file by then.
    assert_eq!((report.seen.files, report.seen.rows, report.seen.searches), (1, 2_000, 200));
    assert_eq!(report.file_system_type, "0x65735546");
    let hashed: Vec<&str> = report.hashes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(hashed, ["vexfs_bench.py"]);
}

#[test]
fn our_own_is_believed() {
    let report = run(&benchmark::configured(true).unwrap(), Home::Fuse).unwrap();
    assert_eq!((report.seen.files, report.claims.len()), (5, 10));
}

#[test]
fn figures_from_a_random_generator_are_not() {
    let said = refused(&program("random_numbers.py", &[]));
    assert!(said.contains("not authentic: it did no work on the mount"), "{said}");
    assert!(said.contains("12,000,000 ops, at 17"), "{said}");
}

#[test]
fn more_work_than_was_done_is_not() {
    let said = refused(&program("vexfs_bench.py", &["60000"]));
    assert!(said.contains("claims 120,000,000 rows stored, and the home counted 2,000"), "{said}");
    assert!(said.contains("ops/sec that is") && said.contains("; it ran "), "{said}");
}

#[test]
fn more_speed_than_the_index_has_is_not() {
    let said = refused(&program("vexfs_bench.py", &["1", "100000"]));
    assert!(said.contains("the fastest search that we saw on its files took"), "{said}");
}

#[test]
fn another_home_is_not_the_one_under_test() {
    let said = run(&program("vexfs_bench.py", &[]), Home::Kernel).unwrap_err().to_string();
    assert!(said.contains("served it, which was to be Kernel"), "{said}");
}

#[test]
fn a_program_that_fails_or_says_nothing_is_named() {
    let shell = |script: &str| Command {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        directory: "/".into(),
    };
    let said = refused(&shell("echo out of memory; exit 7"));
    assert!(said.contains("exit status: 7") && said.contains("out of memory"), "{said}");
    let said = refused(&shell("echo done"));
    assert!(said.contains("printed no line 'NAME ... RATE ops/sec'"), "{said}");
}
