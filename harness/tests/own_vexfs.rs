//! What is said of a VexFS that lacks part of the contract: each operation that fails by itself,
//! with its errno, and whatever it does have passes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use harness::filesystem::run_all;
use harness::fuse::{FuseMount, Readiness};
use harness::kernel::ModuleFile;
use harness::mount::is_mounted;
use harness::sources::{cargo_program, kbuild_module};

/// A daemon among the examples, which cargo builds with tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// A daemon without rename and without the contract's requests.
fn plain_fuse() -> PathBuf {
    example("plain_fuse")
}

#[test]
fn what_is_lacking_is_named_with_its_errno() {
    let mount = FuseMount::start_announced(&plain_fuse(), &[], Readiness::Unannounced).unwrap();
    let outcomes: BTreeMap<_, _> = run_all(mount.path()).into_iter().collect();
    mount.unmount().unwrap();
    let said = |name: &str| outcomes[name].clone().err().unwrap_or_default();
    assert!(said("rename").starts_with("rename: ENOSYS ("), "{}", said("rename"));
    assert!(said("rename_exchange").starts_with("rename_exchange: E"), "{outcomes:#?}");
    let search = said("attach_and_search_exactly");
    assert!(search.starts_with("attach_and_search_exactly: ENOTTY ("), "{search}");
    for name in ["append", "write_and_read_back", "fsync"] {
        assert_eq!(outcomes.get(name), Some(&Ok(())), "{outcomes:#?}");
    }
}

/// What hangs in a daemon is neither waited for without end nor left behind.
#[test]
fn a_daemon_that_mounts_and_never_answers_is_told_and_taken_down() {
    let options = ["left-by-the-mute"];
    let mount = FuseMount::start_announced(&example("mute_fuse"), &options, Readiness::Unannounced);
    let said = mount.unwrap_err().to_string();
    assert!(said.contains("has mounted, but does not answer: statfs(2) of "), "{said}");
    let mountpoint = said.split(' ').find(|word| word.ends_with("/mnt")).unwrap();
    assert!(!is_mounted(Path::new(mountpoint)).unwrap());
    assert!(!Path::new(mountpoint).exists());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.map(|one| fs::read(one.path().join("cmdline")).unwrap_or_default());
    assert!(!lines.any(|line| line.windows(16).any(|part| part == options[0].as_bytes())));
}

/// The criterion itself, as a person runs it, on a daemon that `vexfs.toml` names.
#[test]
fn criterion_1_runs_in_full_on_a_daemon_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("vexfs.toml");
    fs::write(
        &config,
        format!(
            "fuse = {:?}\nmount.fuse = '{{program}} {{options}} {{mountpoint}}'\n",
            plain_fuse()
        ),
    )
    .unwrap();
    let run = |trial: &str| {
        Command::new(plain_fuse().with_file_name("fuse_criterion"))
            .args(["--exact", trial])
            .env("VEXFS_CONFIG", &config)
            .env("VEXFS_VALIDATION_EVIDENCE", directory.path())
            .env_remove("NEXTEST")
            .assert()
    };
    for trial in ["fuse::append", "fuse::mounts_as_fuse", "fuse::unmount_leaves_nothing"] {
        run(trial).success();
    }
    for (trial, named) in [
        ("fuse::rename", "rename: ENOSYS ("),
        ("fuse::attach_and_search_exactly", "attach_and_search_exactly: ENOTTY ("),
    ] {
        run(trial).failure().stdout(predicates::str::contains(named));
    }
}

#[test]
fn sources_are_built() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, module) = (directory.path().join("daemon"), directory.path().join("module"));
    fs::create_dir_all(daemon.join("src/bin")).unwrap();
    fs::write(
        daemon.join("Cargo.toml"),
        "[package]\nname = \"daemon\"\nedition = \"2024\"\n[workspace]\n",
    )
    .unwrap();
    fs::write(daemon.join("src/main.rs"), "fn main() {}\n").unwrap();
    assert_eq!(cargo_program(&daemon).unwrap(), daemon.join("target/release/daemon"));
    fs::write(daemon.join("src/bin/another.rs"), "fn main() {}\n").unwrap();
    let said = cargo_program(&daemon).unwrap_err().to_string();
    assert!(said.contains("2 programs"), "{said}");
    fs::write(daemon.join("src/main.rs"), "fn main() { nonsense }\n").unwrap();
    let said = cargo_program(&daemon).unwrap_err().to_string();
    assert!(said.contains("cargo build --release in") && said.contains("nonsense"), "{said}");

    let kernel = harness::vm::guest_kernel().unwrap();
    fs::create_dir(&module).unwrap();
    fs::write(module.join("Kbuild"), "obj-m := vexfs.o\n").unwrap();
    let source = "#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n";
    fs::write(module.join("vexfs.c"), source).unwrap();
    let built = kbuild_module(&module, &kernel).unwrap();
    ModuleFile::read(&built).unwrap().must_match(&kernel.release).unwrap();
    fs::write(module.join("vexfs.c"), "nonsense").unwrap();
    let said = kbuild_module(&module, &kernel).unwrap_err().to_string();
    assert!(said.contains("make -C ") && said.contains("nonsense"), "{said}");
}
