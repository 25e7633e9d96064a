//! `vexfs-validate compare` on contenders that are quick to make: the engine with one index against
//! the engine with another.

use assert_cmd::Command;
use evidence::exit;

/// Both output streams, and the exit code.
fn compare(a: &str, b: &str) -> (String, u8) {
    let mut command = Command::cargo_bin("vexfs-validate").expect("the program is built");
    let output = command.args(["compare", a, b]).output().expect("it can be started");
    let said = String::from_utf8(output.stdout).expect("text");
    let code = output.status.code().and_then(|code| u8::try_from(code).ok()).expect("a code");
    (format!("{said}{}", String::from_utf8_lossy(&output.stderr)), code)
}

#[test]
fn an_exact_search_stands_against_a_graph() {
    let (said, code) = compare("engine", "engine:hnsw");
    // On a busy machine it may stay open, but an exact search is never slower than the graph here.
    assert!([exit::SUCCESS.code, exit::INCONCLUSIVE.code].contains(&code), "{code}: {said}");
    assert!(
        said.contains("insertion, A over B: ") && said.contains("search, A over B: "),
        "{said}"
    );
    assert!(
        said.contains(
            "A: in-process, Flat index over 10000 rows, home in-process; recall@10 1.0000"
        ),
        "{said}"
    );
    assert!(
        said.contains("B: in-process, Hnsw index over 10000 rows, home in-process; recall@10 0.9"),
        "{said}"
    );
}

#[test]
fn at_a_lower_recall_a_ratio_counts_for_nothing() {
    // Codes miss some neighbours.
    let (said, code) = compare("engine:pq", "engine");
    assert_eq!(code, exit::FAIL.code, "{said}");
    assert!(said.contains("counts for nothing: recall 0.9"), "{said}");
    assert!(said.contains("is below the other's 1.0000"), "{said}");
}

#[test]
fn a_missing_contender_is_no_failure() {
    let (said, code) = compare("/nonexistent/vexfs:flat", "engine");
    assert_eq!(code, exit::SETUP.code, "{said}");
    assert!(said.contains("/nonexistent/vexfs"), "{said}");
}
