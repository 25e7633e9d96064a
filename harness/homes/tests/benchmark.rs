//! A third party's benchmark program in place of ours: honest, idle and lying.

use std::path::PathBuf;

use homes::fuse::FuseMount;
use machine::config::ConfiguredCommand;
use machine::failure::Failure;
use measure::claims::{self, ClaimedWork, ClaimsReport, Fastest, fastest};
use vexfs_uapi::Home;

fn program(name: &str, arguments: &[&str]) -> ConfiguredCommand {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/benchmark");
    let arguments = [&[name, "{mountpoint}"], arguments].concat();
    let arguments = arguments.into_iter().map(str::to_owned).collect();
    ConfiguredCommand { program: "python3".into(), arguments, directory }
}

/// Runs the program on a freshly mounted FUSE daemon, which must end properly in any case.
fn run(program: &ConfiguredCommand, home: Home) -> Result<ClaimsReport, Failure> {
    let mount = FuseMount::under_test().unwrap();
    let outcome = claims::run(program, mount.path(), home);
    mount.unmount().unwrap();
    outcome
}

fn refused(program: &ConfiguredCommand) -> String {
    run(program, Home::Fuse).unwrap_err().to_string()
}

#[test]
fn an_honest_program_is_believed() {
    let report = run(&program("vexfs_bench.py", &[]), Home::Fuse).unwrap();
    // The program has already removed its file.
    assert_eq!((report.seen.files, report.seen.rows, report.seen.searches), (1, 2_000, 200));
    assert_eq!(report.file_system_type, "0x65735546");
    let hashed: Vec<&str> = report.hashes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(hashed, ["vexfs_bench.py"]);
}

#[test]
fn our_own_program_is_believed() {
    let report = run(&claims::configured(true).unwrap(), Home::Fuse).unwrap();
    assert_eq!((report.seen.files, report.claims.len()), (5, 10));
}

#[test]
fn random_figures_are_not_believed() {
    let said = refused(&program("random_numbers.py", &[]));
    assert!(said.contains("not authentic: it did no work on the mount"), "{said}");
    assert!(said.contains("12,000,000 ops, at 17"), "{said}");
}

#[test]
fn more_work_than_was_done_is_not_believed() {
    let said = refused(&program("vexfs_bench.py", &["60000"]));
    assert!(said.contains("claims 120,000,000 rows stored, and the home counted 2,000"), "{said}");
    assert!(said.contains("ops/sec that is") && said.contains("; it ran "), "{said}");
}

#[test]
fn searching_faster_than_the_index_is_not_believed() {
    let said = refused(&program("vexfs_bench.py", &["1", "100000"]));
    assert!(said.contains("the fastest search that we saw on its files took"), "{said}");
}

#[test]
fn inserting_faster_than_rows_are_stored_is_not_believed() {
    let said = refused(&program("vexfs_bench.py", &["1", "1000000000", "insert"]));
    assert!(
        said.contains("the fastest insertion of a row that we saw on its files took"),
        "{said}"
    );
    assert!(
        said.contains("it claims \"insert: 2,000 ops, ") && said.contains(" that is "),
        "{said}"
    );
    assert!(said.contains("(Flat index of 2000 x 32 of bench.f32)"), "{said}");
    assert!(!said.contains("fastest search"), "{said}");
}

#[test]
fn an_unnamed_rate_above_both_limits_is_not_believed() {
    let said = refused(&program("vexfs_bench.py", &["1", "1000000000", "neutral"]));
    assert!(said.contains("the fastest insertion or search that we saw on its files"), "{said}");
    let honest = run(&program("vexfs_bench.py", &["1", "1", "neutral"]), Home::Fuse).unwrap();
    assert!(honest.claims.iter().all(|claim| claim.work == ClaimedWork::Either));
}

#[test]
fn a_tiny_second_file_raises_no_limit() {
    let report = run(&program("vexfs_bench.py", &["1", "1", "tiny"]), Home::Fuse).unwrap();
    let counted: Vec<u64> = report.seen.searching.iter().map(|pace| pace.operations).collect();
    assert_eq!(counted, [1, 200]);
    let Fastest { seconds, indexes } = fastest(&report.seen.searching, 100).unwrap();
    assert!(indexes.contains(&"Flat index of 2000 x 32 of bench.f32"), "{indexes:?}");
    let alone = report.seen.searching[1].seconds;
    assert!((seconds - alone).abs() <= 0.01 * alone, "{seconds} s, and {alone} s alone");
    let said = refused(&program("vexfs_bench.py", &["1", "1000000000", "tiny"]));
    assert!(said.contains("the fastest search that we saw on its files"), "{said}");
    assert!(said.contains("of bench.f32)"), "{said}");
}

#[test]
fn another_home_is_not_the_one_under_test() {
    let said = run(&program("vexfs_bench.py", &[]), Home::Kernel).unwrap_err().to_string();
    assert!(said.contains("served it, expected Kernel"), "{said}");
}

#[test]
fn a_program_that_fails_or_says_nothing_is_named() {
    let shell = |script: &str| ConfiguredCommand {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        directory: "/".into(),
    };
    let said = refused(&shell("echo out of memory; exit 7"));
    assert!(said.contains("exit status: 7") && said.contains("out of memory"), "{said}");
    let said = refused(&shell("echo done"));
    assert!(said.contains("printed no line 'NAME ... RATE ops/sec'"), "{said}");
}
