//! What `gate upgrade` says before it boots a guest, and what is left of it.

use std::fs;

use assert_cmd::Command;
use evidence::exit;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use verdict::FUNCTIONAL;

use crate::bench::{Bench, MODULE, RELEASE, code, signer};

/// No machine has headers of this kernel.
const UNKNOWN: &str = "6.12.99999+nowhere-amd64";

fn upgrade(bench: &Bench, release: &str, key: &str) -> Command {
    let words = ["gate", "upgrade", "--root", "root", "--kernel", release, "--key", key];
    bench.validate(&words)
}

#[test]
fn what_is_missing_is_said_before_anything_is_built() {
    let bench = Bench::new();
    for (release, key, exit, says) in [
        ("6.99", "me.sec", exit::SETUP, "apt-get install linux-image-6.99"),
        ("../x", "me.sec", exit::USAGE, "no kernel's release"),
        (RELEASE, "nosuch.sec", exit::EVIDENCE, "signify-openbsd -G -n -s nosuch.sec"),
        (RELEASE, "me.pub", exit::USAGE, "name the secret one"),
    ] {
        let refused = upgrade(&bench, release, key).assert().code(code(exit));
        refused.stderr(contains(says));
    }
    assert!(!bench.at("root/var").exists());
}

/// build.sh itself refuses.
#[test]
fn a_module_that_is_not_built_leaves_the_gate_shut_and_status_says_why() {
    if machine::place::here().place == evidence::place::Place::Guest {
        let refused = upgrade(&Bench::new(), RELEASE, "me.sec").assert();
        refused.code(code(exit::USAGE)).stderr(contains("this is the guest"));
        return;
    }
    let bench = Bench::new();
    let modules = bench.at("root/lib/modules").join(UNKNOWN);
    fs::create_dir_all(&modules).expect("made");
    upgrade(&bench, UNKNOWN, "me.sec").assert().code(code(exit::REFUSED)).stderr(
        contains("the module was not built")
            .and(contains(format!("no headers for kernel {UNKNOWN}"))),
    );
    let status = bench.status();
    for words in [
        &format!("{UNKNOWN}: shut, FUSE serves"),
        "last upgrade refused 2",
        "the module was not built: build.sh ended with exit status: 3:",
        &format!("no headers for kernel {UNKNOWN}"),
        &format!("try it once more with: vexfs-validate gate upgrade --kernel {UNKNOWN}"),
    ] {
        assert!(status.contains(words), "{words}: {status}");
    }
    assert_eq!(fs::read_dir(modules).expect("there").count(), 0);
}

#[test]
fn the_functional_criteria_open_no_more_than_their_own_level() {
    let bench = Bench::new();
    let attested = bench.changed("functional.json", |statement| {
        statement.predicate.passed_tests = FUNCTIONAL.to_vec();
    });
    for level in ["bare-metal", "vm"] {
        bench
            .install("vexfs.ko", &attested, &["--kernel", RELEASE, "--level", level])
            .assert()
            .code(code(exit::REFUSED))
            .stderr(
                contains("functional criteria, and no others").and(contains("--level functional")),
            );
        assert!(!bench.home().exists());
    }
    let functional = ["--kernel", RELEASE, "--level", "functional"];
    bench.install("vexfs.ko", &attested, &functional).assert().success();
    assert_eq!(fs::read(bench.home().join("vexfs.ko")).expect("there"), MODULE);
    let notice = fs::read_to_string(bench.home().join("load-notice")).expect("there");
    assert!(notice.contains("functional criteria, and no others"), "{notice}");
    assert!(notice.contains(&signer().public_key().id()), "{notice}");
}
