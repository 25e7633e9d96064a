//! What `gate install` has put in, `gate remove` takes out.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use evidence::exit;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

use crate::bench::{Bench, RELEASE, code};

fn remove(bench: &Bench, release: &str) -> Command {
    bench.validate(&["gate", "remove", "--root", "root", "--kernel", release])
}

/// All files and directories below `root`, sorted.
fn tree(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root).expect("read") {
        let path = entry.expect("read").path();
        if path.is_dir() {
            all.extend(tree(&path));
        }
        all.push(path.display().to_string());
    }
    all.sort();
    all
}

#[test]
fn all_that_was_installed_is_removed_and_named() {
    let bench = Bench::new();
    // A file of the kernel's own.
    fs::create_dir(bench.at("root/lib/modules").join(RELEASE).join("kernel")).expect("made");
    fs::create_dir_all(bench.at("root/etc/modprobe.d")).expect("made");
    let before = tree(&bench.at("root"));
    let vm = ["--kernel", RELEASE, "--level", "vm"];
    bench.install("vexfs.ko", &bench.attested(), &vm).assert().success();
    assert!(bench.status().contains(": open, VM only: "), "{}", bench.status());
    let said = remove(&bench, RELEASE).assert().success();
    let said = String::from_utf8(said.get_output().stdout.clone()).expect("text");
    for words in [
        "updates/vexfs-gate: attestation.intoto.json, key.pub, load-notice, vexfs.ko\n",
        "removed root/etc/modprobe.d/vexfs-gate-vexfs.conf\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // depmod's index stays, and does not name the module.
    let mut after = tree(&bench.at("root"));
    after.retain(|path| !path.contains("/modules."));
    assert_eq!(after, before);
    let index = bench.at("root/lib/modules").join(RELEASE).join("modules.dep");
    let index = fs::read_to_string(index).unwrap_or_default();
    assert!(!index.contains("vexfs"), "{index}");
    assert!(bench.status().contains("shut, FUSE serves: no module has passed"));
    remove(&bench, RELEASE)
        .assert()
        .success()
        .stdout(contains("no module of the gate is installed"));
}

#[test]
fn a_module_that_the_gate_would_refuse_is_removed_all_the_same() {
    let bench = Bench::new();
    bench.install("vexfs.ko", &bench.eligible(), &["--kernel", RELEASE]).assert().success();
    fs::remove_file(bench.home().join("attestation.intoto.json")).expect("removed");
    let status = bench.status();
    assert!(
        status.contains(": shut: ")
            && status.contains(&format!("vexfs-validate gate remove --kernel {RELEASE}")),
        "{status}"
    );
    remove(&bench, RELEASE).assert().success().stdout(contains("key.pub, vexfs.ko"));
    assert!(!bench.home().exists());
}

#[test]
fn what_it_cannot_remove_it_does_not_claim_to_have_removed() {
    let bench = Bench::new();
    for release in ["", "..", "../x", "."] {
        let refused = remove(&bench, release).assert().code(code(exit::USAGE));
        refused.stderr(contains("no kernel's release"));
    }
    bench
        .validate(&["gate", "remove", "--root", "nosuch", "--kernel", RELEASE])
        .assert()
        .code(code(exit::EVIDENCE))
        .stderr(contains("nothing is removed").and(contains("nosuch")));
}
