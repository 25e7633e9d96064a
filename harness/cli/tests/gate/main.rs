//! Takes a verdict from its evidence, by a signature, through the gate and out again.

mod bench;
mod hook;
mod remove;
mod upgrade;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::digest::sha256;
use evidence::exit::{self, Exit};
use evidence::place::Place;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

use bench::{Bench, DAEMON, ID, MODULE, RELEASE, code};

#[test]
fn a_run_that_passes_is_signed_and_verified_in_one_line() {
    let bench = Bench::new();
    let file = bench.attested();
    let shown = ["--module", "vexfs.ko", "--fuse", "vexfs_fuse", "--kernel", RELEASE];
    let said = bench.verify(&file, &shown).assert().success();
    let said = String::from_utf8(said.get_output().stdout.clone()).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    for words in [
        "holds: vexfs.ko ",
        &sha256(MODULE)[..16],
        &sha256(DAEMON)[..16],
        RELEASE,
        "passed in the VM on an emulated CPU (TCG), NOT ELIGIBLE",
        "signed by key 0807060504030201",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o644);
}

#[test]
fn what_does_not_pass_or_is_damaged_is_not_signed() {
    let bench = Bench::new();
    for (golden, exit, says) in [
        ("failed", exit::FAIL, "the verdict is FAIL"),
        ("inconclusive", exit::INCONCLUSIVE, "the verdict is INCONCLUSIVE"),
    ] {
        let dir = bench.run(golden);
        bench
            .validate(&["attest", golden, "--key", "me.sec"])
            .assert()
            .code(code(exit))
            .stderr(contains("nothing is attested").and(contains(says)));
        assert!(!dir.join("attestation.intoto.json").exists());
    }
    let dir = bench.run("emulated");
    let trail = dir.join("host.jsonl");
    let text = fs::read_to_string(&trail).expect("read").replacen("\"passed\"", "\"failed\"", 1);
    fs::write(&trail, text).expect("written");
    bench
        .validate(&["attest", "emulated", "--key", "me.sec"])
        .assert()
        .code(code(exit::INCONCLUSIVE))
        .stderr(contains("the chain of the evidence is broken"));
    // A verdict.json from before counts for nothing.
    fs::write(dir.join("verdict.json"), r#"{"state":"PASS"}"#).expect("written");
    bench
        .validate(&["attest", "emulated", "--key", "me.sec"])
        .assert()
        .code(code(exit::INCONCLUSIVE));
    assert!(!dir.join("attestation.intoto.json").exists());
}

#[test]
fn invalid_keys_are_reported() {
    let bench = Bench::new();
    let file = bench.attested();
    for (key, exit, says) in [
        ("me.pub", exit::USAGE, "name the secret one"),
        ("vexfs.ko", exit::USAGE, "make one with: signify-openbsd"),
        ("nosuch", exit::EVIDENCE, "nosuch"),
    ] {
        let attest = bench.validate(&["attest", "emulated", "--key", key]).assert();
        attest.code(code(exit)).stderr(contains(says));
    }
    let verify = |key: &str| {
        let mut command = bench.validate(&["verify"]);
        command.arg(&file).args(["--key", key]).assert()
    };
    verify("me.sec").code(code(exit::USAGE)).stderr(contains("name the public one"));
    verify("vexfs.ko").code(code(exit::USAGE)).stderr(contains("no public key"));
}

#[test]
fn each_refusal_has_its_own_words() {
    let bench = Bench::new();
    let file = bench.attested();
    bench.key("other", [8; 8], [9; 32]);
    bench.key("forger", ID, [9; 32]);
    let attest = |key: &str, output: &str| {
        bench
            .validate(&["attest", "emulated", "--key", key, "--output", output])
            .assert()
            .success();
    };
    attest("other.sec", "other.json");
    attest("forger.sec", "forged.json");
    let mut edited: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).expect("read")).expect("JSON");
    let payload = STANDARD.decode(edited["payload"].as_str().expect("text")).expect("base64");
    let payload = String::from_utf8(payload).expect("text").replace("NOT ELIGIBLE", "ELIGIBLE");
    edited["payload"] = STANDARD.encode(payload).into();
    fs::write(bench.at("edited.json"), edited.to_string()).expect("written");
    edited["signatures"] = serde_json::json!([]);
    fs::write(bench.at("unsigned.json"), edited.to_string()).expect("written");
    fs::write(bench.at("new.ko"), b"built since").expect("written");
    fs::write(bench.at("old.ko"), b"built long ago").expect("written");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let old = fs::File::options().write(true).open(bench.at("old.ko")).expect("opened");
    old.set_modified(long_ago).expect("set");
    let file = file.to_str().expect("text");
    for (file, shown, says) in [
        ("forged.json", &[] as &[&str], "forged, or was edited"),
        ("edited.json", &[], "forged, or was edited"),
        ("unsigned.json", &[], "nobody has signed it"),
        ("other.json", &[], "signed by another key: by 0808080808080808"),
        ("vexfs.ko", &[], "it is no attestation"),
        (file, &["--module", "new.ko"], "it is older than the module: new.ko"),
        (file, &["--module", "old.ko"], "it is of another module"),
        (file, &["--fuse", "old.ko"], "it is of another FUSE daemon"),
        (file, &["--kernel", "6.1.0-56-amd64"], "it is of another kernel"),
    ] {
        let verified = bench.verify(Path::new(file), shown).assert();
        verified.code(code(exit::REFUSED)).stderr(contains(says)).stdout("");
    }
}

#[test]
fn the_gate_lets_in_what_may_leave_the_vm() {
    let bench = Bench::new();
    let eligible = bench.eligible();
    assert!(
        bench.status().contains("shut, FUSE serves: no module has passed"),
        "{}",
        bench.status()
    );
    bench
        .install("vexfs.ko", &eligible, &["--kernel", RELEASE])
        .assert()
        .success()
        .stdout(contains("ELIGIBLE for bare metal"));
    assert_eq!(fs::read(bench.home().join("vexfs.ko")).expect("there"), MODULE);
    assert!(!bench.home().join("load-notice").exists() && !bench.at("root/etc").exists());
    let status = bench.status();
    assert!(status.contains(": open: vexfs.ko ") && status.contains("updates/vexfs-gate/vexfs.ko"));
    // Changing the module shuts the gate.
    fs::write(bench.home().join("vexfs.ko"), b"another").expect("written");
    let status = bench.status();
    assert!(status.contains(": shut: ") && status.contains("older than the module"), "{status}");
}

#[test]
fn what_has_passed_in_the_vm_only_says_so_at_each_load() {
    let bench = Bench::new();
    let attested = bench.attested();
    bench
        .install("vexfs.ko", &attested, &["--kernel", RELEASE])
        .assert()
        .code(code(exit::REFUSED))
        .stderr(contains("the gate stays shut").and(contains("--level vm")));
    assert!(!bench.home().exists());
    bench
        .install("vexfs.ko", &attested, &["--kernel", RELEASE, "--level", "vm"])
        .assert()
        .success()
        .stdout(contains("each load"));
    let notice = fs::read_to_string(bench.home().join("load-notice")).expect("there");
    assert!(notice.starts_with("vexfs: passed in the VM on an emulated CPU (TCG), NOT ELIGIBLE"));
    assert!(bench.status().contains(": open, VM only: "), "{}", bench.status());
    let snippet = fs::read_to_string(bench.at("root/etc/modprobe.d/vexfs-gate-vexfs.conf"));
    let snippet = snippet.expect("there");
    assert!(snippet.contains("\ninstall vexfs ") && snippet.contains("--ignore-install vexfs"));
}

/// Runs the line in modprobe.d in a shell, with our own root, kernel release and modprobe.
#[test]
fn the_notice_is_written_before_the_module_is_loaded() {
    let bench = Bench::new();
    let attested = bench.attested();
    let vm = ["--kernel", RELEASE, "--level", "vm"];
    bench.install("vexfs.ko", &attested, &vm).assert().success();
    let snippet = fs::read_to_string(bench.at("root/etc/modprobe.d/vexfs-gate-vexfs.conf"));
    let snippet = snippet.expect("there");
    let line = snippet.lines().find_map(|line| line.strip_prefix("install vexfs ")).expect("it");
    let line = line
        .replace("/lib/modules/", &format!("{}/lib/modules/", bench.at("root").display()))
        .replace("/dev/kmsg", "log");
    fs::create_dir(bench.at("bin")).expect("made");
    for (name, script) in
        [("uname", "#!/bin/sh\necho $RELEASE\n"), ("modprobe", "#!/bin/sh\ncat log; echo \"$@\"\n")]
    {
        fs::write(bench.at("bin").join(name), script).expect("written");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(bench.at("bin").join(name), executable).expect("set");
    }
    let path = format!("{}:{}", bench.at("bin").display(), std::env::var("PATH").expect("set"));
    let run = |release: &str| {
        fs::write(bench.at("log"), "").expect("written");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(bench.0.path());
        shell.env("PATH", &path).env("RELEASE", release).env("CMDLINE_OPTS", "a=1");
        let said = shell.output().expect("run");
        assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
        String::from_utf8(said.stdout).expect("text")
    };
    let said = run(RELEASE);
    assert!(said.starts_with("vexfs: passed in the VM"), "{said}");
    assert!(said.ends_with("\n--ignore-install vexfs a=1\n"), "{said}");
    // On another kernel there is no notice, and the module is loaded all the same.
    assert_eq!(run("6.1"), "--ignore-install vexfs a=1\n");
}

#[test]
fn everything_else_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let eligible = bench.eligible();
    fs::write(bench.at("other.ko"), b"other").expect("written");
    fs::write(bench.at("module.txt"), MODULE).expect("written");
    fs::create_dir_all(bench.at("root/lib/modules/6.1.0-56-amd64")).expect("made");
    let cases: [(&str, &str, Exit, &str); 6] = [
        ("other.ko", RELEASE, exit::REFUSED, "older than the module"),
        ("vexfs.ko", "6.1.0-56-amd64", exit::REFUSED, "another kernel"),
        ("vexfs.ko", "6.99", exit::SETUP, "apt-get install linux-image-6.99"),
        ("vexfs.ko", "../x", exit::USAGE, "no kernel's release"),
        ("module.txt", RELEASE, exit::USAGE, "NAME.ko"),
        ("nosuch.ko", RELEASE, exit::EVIDENCE, "nosuch.ko"),
    ];
    for (module, release, exit, says) in cases {
        bench
            .install(module, &eligible, &["--kernel", release])
            .assert()
            .code(code(exit))
            .stderr(contains(says));
    }
    let nobodys = bench.at("nosuch.json");
    let missing = bench.install("vexfs.ko", &nobodys, &["--kernel", RELEASE]).assert();
    missing.code(code(exit::EVIDENCE));
    for release in [RELEASE, "6.1.0-56-amd64"] {
        let modules = bench.at("root/lib/modules").join(release);
        assert_eq!(fs::read_dir(modules).expect("there").count(), 0);
    }
}

#[test]
fn a_module_that_went_around_the_gate_is_named() {
    let bench = Bench::new();
    let dep = bench.at("root/lib/modules").join(RELEASE).join("modules.dep");
    fs::write(dep, "extra/vexfs.ko.xz:\nextra/vexfs_other.ko:\nupdates/vexfs-gate/vexfs.ko:\n")
        .expect("written");
    let status = bench.status();
    assert!(status.contains("extra/vexfs.ko.xz has not passed the gate"), "{status}");
    assert_eq!(status.matches("has not passed the gate").count(), 1, "{status}");
}

/// Not in a script, with or without the option, and not if CI is set.
#[test]
fn nothing_is_loaded_into_this_machines_own_kernel_without_a_person() {
    let bench = Bench::new();
    let yes = ["gate", "load", "--yes-on-this-machine"];
    if machine::place::here().place == Place::Guest {
        // In the guest modules may be loaded, and the gate itself decides.
        let refused = bench.validate(&yes[..2]).assert().code(code(exit::REFUSED));
        refused.stderr(contains("the gate of kernel").and(contains("no module has passed")));
        return;
    }
    for (words, ci, says) in [
        (&yes[..2], "", "in the guest only"),
        (&yes[..], "", "on a terminal only"),
        (&yes[..], "true", "has no effect in CI"),
    ] {
        let refused = bench.validate(words).env("CI", ci).write_stdin("y\n").assert();
        refused.code(code(exit::REFUSED)).stderr(contains(says)).stdout("");
    }
}
