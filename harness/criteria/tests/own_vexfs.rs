//! What a VexFS that lacks a part of the contract is told: each operation that it lacks fails by
//! itself, with its errno, and the others pass.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use evidence::exit;
use homes::filesystem::contract::ASKS;
use homes::filesystem::quick_operations;
use homes::fuse::{FuseMount, Readiness};
use homes::kernel::ModuleFile;
use homes::torture::punches_no_holes;
use machine::mount::is_mounted;
use machine::own_sources::{cargo_program, kbuild_module};
use nix::errno::Errno;

/// An example daemon, which cargo builds with the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// A daemon without rename and without the contract's ioctls.
fn plain_fuse() -> PathBuf {
    example("plain_fuse")
}

/// A `vexfs.toml` that names this daemon.
fn of_plain_fuse() -> String {
    format!("fuse = {:?}\nmount.fuse = '{{program}} {{options}} {{mountpoint}}'\n", plain_fuse())
}

#[test]
fn what_is_lacking_is_named_with_its_errno() {
    let mount = FuseMount::start_announced(&plain_fuse(), &[], Readiness::Unannounced).unwrap();
    let outcomes = quick_operations()
        .map(|one| (one.name, one.run(mount.path()).map_err(|failure| failure.to_string())));
    let outcomes: BTreeMap<_, _> = outcomes.collect();
    mount.unmount().unwrap();
    let said = |name: &str| outcomes[name].clone().err().unwrap_or_default();
    assert!(said("rename").starts_with("rename: ENOSYS ("), "{}", said("rename"));
    assert!(said("rename_exchange").starts_with("rename_exchange: E"), "{outcomes:#?}");
    let search = said("attach_and_search_exactly");
    assert!(search.starts_with("attach_and_search_exactly: ENOTTY ("), "{search}");
    // It has no mknod(2), but files can be created.
    let listings = ["readdir_1000", "readdir_into_small_buffers", "readdir_from_a_position"];
    for name in ["append", "write_and_read_back", "fsync"].into_iter().chain(listings) {
        assert_eq!(outcomes.get(name), Some(&Ok(())), "{outcomes:#?}");
    }
}

/// A healthy file system may refuse what only the contract asks. One that says that it has done it,
/// and has not, is broken, and the message must not excuse it.
#[test]
fn lacking_and_broken_operations_are_reported_differently() {
    let plain = plain_fuse();
    let plain = plain.to_str().unwrap();
    for (fault, broken) in [("none", false), ("says-done", true)] {
        let fault = format!("PLAIN_FUSE={fault}");
        let options = [fault.as_str(), plain];
        let mount = FuseMount::start_announced(Path::new("env"), &options, Readiness::Unannounced);
        let mount = mount.unwrap();
        for name in [
            "xattrs_are_set_read_and_removed",
            "xattrs_create_or_replace",
            "allocated_room_is_taken",
            "punched_holes_are_zero_and_free",
        ] {
            let operation = quick_operations().find(|one| one.name == name).unwrap();
            let told = operation.run(mount.path()).unwrap_err().to_string();
            assert_eq!(!told.contains(ASKS), broken, "{fault}: {told}");
        }
        mount.unmount().unwrap();
    }
}

/// POSIX lets a file system keep times in whole seconds, and keep only some years.
#[test]
fn whole_second_timestamps_fail_only_what_the_contract_asks() {
    let plain = plain_fuse();
    let options = ["PLAIN_FUSE=whole-seconds", plain.to_str().unwrap()];
    let mount = FuseMount::start_announced(Path::new("env"), &options, Readiness::Unannounced);
    let mount = mount.unwrap();
    let told = |name: &str| {
        let operation = quick_operations().find(|one| one.name == name).unwrap();
        operation.run(mount.path()).map_err(|failure| failure.to_string())
    };
    assert_eq!(told("changes_move_mtime_and_ctime"), Ok(()));
    for name in ["times_in_nanoseconds", "times_now_and_omitted"] {
        let told = told(name).unwrap_err();
        assert!(told.contains(ASKS) && told.contains("to the nanosecond"), "{told}");
    }
    mount.unmount().unwrap();
}

/// A daemon that hangs is neither waited for for ever nor left behind.
#[test]
fn a_daemon_that_mounts_and_never_answers_is_reported_and_taken_down() {
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

/// Runs the criterion itself, as a user would, on a daemon that `vexfs.toml` names.
#[test]
fn criterion_1_runs_in_full_on_a_daemon_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("vexfs.toml");
    fs::write(&config, of_plain_fuse()).unwrap();
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

/// Runs some trials of criterion 1 in one process, with `config` as `vexfs.toml`, and returns the
/// output.
fn criterion(config: &str, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vexfs.toml");
    fs::write(&path, config).unwrap();
    let script = directory.path().join("daemon.sh");
    fs::write(script, "exec \"$1\" \"$2\"\n").unwrap();
    let output = Command::new(plain_fuse().with_file_name("fuse_criterion"))
        .args(arguments)
        .env("VEXFS_CONFIG", &path)
        .env_remove("NEXTEST")
        .env_remove("NEXTEST_RUN_ID")
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// Trials can still be listed: nextest lists them before it runs any.
#[test]
fn a_refused_configuration_is_told_once_and_nothing_is_tried() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vexfs.toml");
    let run = |arguments: &[&str]| {
        let output = Command::new(plain_fuse().with_file_name("fuse_criterion"))
            .args(arguments)
            .env("VEXFS_CONFIG", &path)
            .env_remove("NEXTEST")
            .env_remove("NEXTEST_RUN_ID")
            .output()
            .unwrap();
        let [tried, said] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        (output.status.code(), tried, said)
    };
    for (config, words) in [
        (None, "vexfs.toml cannot be read"),
        (Some("fuse = "), "vexfs.toml is refused"),
        (Some("fues = 'daemon'"), "unknown field `fues`"),
        (Some("fuse = 'nosuch'"), "nosuch is no file"),
    ] {
        if let Some(config) = config {
            fs::write(&path, config).unwrap();
        }
        let (code, tried, said) = run(&[]);
        assert_eq!(code, Some(i32::from(exit::SETUP.code)), "{said}");
        assert_eq!(said.matches(words).count(), 1, "{said}");
        assert!(said.contains("docs/own-vexfs.md") && tried.is_empty(), "{said}{tried}");
        let (code, listed, said) = run(&["--list"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(listed.contains("fuse::append: test"), "{listed}");
    }
}

/// Trials outside the table of operations that need ATTACH say that only the contract asks for it.
#[test]
fn missing_requests_are_reported_as_the_contracts_demand() {
    let config = of_plain_fuse();
    for trial in [
        "fuse::ends_while_it_refuses_and_writes_back",
        "fuse::fuzzed_requests",
        "fuse::removed_files_keep_no_memory",
    ] {
        let text = criterion(&config, &[trial, "--exact"]);
        assert!(text.contains("ATTACH: Inappropriate ioctl for device"), "{text}");
        let mark = "the contract asks more than POSIX: indexes and searches are requests";
        assert!(text.contains(mark), "{text}");
    }
}

/// The walk looks for faults beside what the contract alone asks: this daemon has no symlink(2).
#[test]
fn a_walk_finds_a_fault_beside_what_is_lacking() {
    let text = criterion(&of_plain_fuse(), &["fuse::walks_as_tmpfs_does", "--exact"]);
    assert!(text.contains("FUSE differs from the referee in symlink"), "{text}");
    let (_, left_out) =
        text.split_once("Left out, because the contract alone requires it").unwrap();
    assert!(left_out.contains("indexes and searches are requests"), "{text}");
    assert!(!text.contains("the contract asks more than POSIX"), "{text}");
}

/// fsx does without holes where a file system says that it does not know them.
#[test]
fn a_file_system_that_punches_no_holes_is_known_by_its_errno() {
    let mount = FuseMount::start_announced(&plain_fuse(), &[], Readiness::Unannounced).unwrap();
    let lacking = punches_no_holes(mount.path()).unwrap();
    assert_eq!(lacking, Some(Errno::EOPNOTSUPP));
    mount.unmount().unwrap();
}

#[test]
fn a_file_system_without_mkdir_is_tried_in_its_root() {
    let config = format!(
        "fuse = {:?}\n",
        ["env", "PLAIN_FUSE=no-directories", plain_fuse().to_str().unwrap()]
    );
    let text = criterion(&config, &["fuse::append", "--exact"]);
    assert!(text.contains("test result: ok. 1 passed"), "{text}");
    let text = criterion(&config, &["fuse::mkdir_and_rmdir", "--exact"]);
    assert!(text.contains("mkdir_and_rmdir: EPERM ("), "{text}");
}

#[test]
fn why_a_daemon_does_not_start_is_reported_once() {
    let config = r#"fuse = ["sh", "-c", "echo the disk is on fire >&2; exit 7"]"#;
    let text = criterion(config, &["fuse::rename", "--test-threads=1"]);
    let said = text.lines().filter(|line| *line == "the disk is on fire");
    assert_eq!(said.count(), 1, "{text}");
    let cause = "the FUSE daemon does not start with -o size=256M";
    assert!(text.contains(cause) && text.contains("exited with status 7"), "{text}");
    // Quoted for a shell, so that it can be copied.
    assert!(text.contains("it was run as: cd ") && text.contains("sh -c 'echo the disk"), "{text}");
    let others = text.matches("\nnot tried: the FUSE daemon does not start; fuse::rename");
    assert!(others.count() > 3, "{text}");
}

#[test]
fn a_daemon_that_takes_no_options_gets_a_remedy() {
    let refuses = "case $1 in -o) echo unknown option -o >&2; exit 1;; esac; exec \"$0\" \"$1\"";
    let daemon = plain_fuse();
    let config = format!("fuse = {:?}\n", ["sh", "-c", refuses, daemon.to_str().unwrap()]);
    let arguments = ["fuse::append", "--exact"];
    let text = criterion(&config, &arguments);
    assert!(text.contains("unknown option -o"), "{text}");
    assert!(text.contains("fuse = \"{program} {mountpoint}\""), "{text}");
    let config = format!("{config}mount.fuse = '{{program}} {{mountpoint}}'\n");
    let text = criterion(&config, &arguments);
    assert!(text.contains("test result: ok. 1 passed"), "{text}");
}

/// libfuse's daemons exit with 8 after a signal. What counts is that the mount is gone.
#[test]
fn a_daemon_may_exit_with_any_status_after_a_signal() {
    let exits_with_8 = "for mountpoint; do :; done
        \"$0\" \"$@\" & daemon=$!
        trap 'fusermount3 -u \"$mountpoint\"; wait $daemon; exit 8' TERM INT HUP
        wait $daemon";
    let config =
        format!("fuse = {:?}\n", ["sh", "-c", exits_with_8, plain_fuse().to_str().unwrap()]);
    let text = criterion(&config, &["fuse::signals_unmount", "--exact"]);
    assert!(text.contains("test result: ok. 1 passed"), "{text}");
    // One that exits and leaves its mount is told so.
    let leaves =
        exits_with_8.replace("fusermount3 -u \"$mountpoint\"; wait $daemon", "kill $daemon");
    let config = format!("fuse = {:?}\n", ["sh", "-c", &leaves, plain_fuse().to_str().unwrap()]);
    let text = criterion(&config, &["fuse::signals_unmount", "--exact"]);
    assert!(text.contains("test result: FAILED. 0 passed; 1 failed"), "{text}");
}

/// What the suite makes for a daemon of another user's must be open to that.
#[test]
fn a_umask_that_shuts_others_out_spoils_no_trial() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("vexfs.toml");
    fs::write(&config, format!("fuse = {:?}\n", plain_fuse())).unwrap();
    for trial in ["fuse::append", "fuse::mounts_as_fuse", "fuse::unmount_leaves_nothing"] {
        Command::new("sh")
            .args(["-c", "umask 077; exec \"$0\" --exact \"$1\""])
            .arg(plain_fuse().with_file_name("fuse_criterion"))
            .arg(trial)
            .env("VEXFS_CONFIG", &config)
            .env_remove("NEXTEST")
            .env_remove("NEXTEST_RUN_ID")
            .assert()
            .success()
            .stdout(predicates::str::contains("test result: ok. 1 passed"));
    }
}

/// `fuse` has an argument that is a path beside `vexfs.toml`.
#[test]
fn a_command_runs_where_its_file_is() {
    let config = format!("fuse = {:?}\n", ["sh", "./daemon.sh", plain_fuse().to_str().unwrap()]);
    let config = format!("{config}mount.fuse = '{{program}} {{mountpoint}}'\n");
    let text = criterion(&config, &["fuse::append", "--exact"]);
    assert!(text.contains("test result: ok. 1 passed"), "{text}");
    // Without `mount.fuse` the script works for trials that mount without options; otherwise it
    // would take `-o` for the mount point.
    let alone = format!("fuse = {:?}\n", ["sh", "./daemon.sh", plain_fuse().to_str().unwrap()]);
    let text = criterion(&alone, &["fuse::unmount_leaves_nothing", "--exact"]);
    assert!(text.contains("test result: ok. 1 passed"), "{text}");
}

/// The daemon goes to the background and exits with 0, as libfuse's examples do without `-f`.
#[test]
fn a_daemon_that_goes_to_the_background_refuses_nothing() {
    let background = "setsid --fork \"$0\" \"$@\"";
    let config = format!("fuse = {:?}\n", ["sh", "-c", background, plain_fuse().to_str().unwrap()]);
    let text = criterion(&config, &["fuse::bad_mount_points_are_refused", "--exact"]);
    let said = "\"does not exist\": the daemon exited with status 0, expected a refusal";
    assert!(text.contains(said), "{text}");
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

    let kernel = guest::Host::of_environment().unwrap().kernel;
    fs::create_dir(&module).unwrap();
    fs::write(module.join("Kbuild"), "obj-m := vexfs.o\n").unwrap();
    let source = "#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n";
    fs::write(module.join("vexfs.c"), source).unwrap();
    let built = kbuild_module(&module, || kernel.headers()).unwrap();
    ModuleFile::read(&built).unwrap().must_match(&kernel.release).unwrap();
    fs::write(module.join("vexfs.c"), "nonsense").unwrap();
    let said = kbuild_module(&module, || kernel.headers()).unwrap_err().to_string();
    assert!(said.contains("make -C ") && said.contains("nonsense"), "{said}");
}
