//! The hooks of a kernel's package, as dpkg runs them: they shut the gate, start the validation, and
//! never keep the kernel from being installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;
use evidence::exit;
use predicates::str::contains;

use crate::bench::{Bench, RELEASE, code};

/// A root with the hooks, an installed module, a kernel with its headers, and systemd.
struct Machine(Bench);

impl Machine {
    fn new() -> Machine {
        let machine = Machine(Bench::new());
        machine
            .script("validate", &format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_vexfs-validate")));
        machine.script("systemctl", "echo \"$@\" >>\"$ROOM/started\"");
        // As systemd-escape(1) does, for this release.
        machine.script("systemd-escape", "echo \"vexfs-gate@$3.service\" | sed 's/[+]/\\\\x2b/'");
        for (path, text) in [
            ("etc/vexfs-gate/machine.sec".to_owned(), "secret"),
            (format!("boot/vmlinuz-{RELEASE}"), "image"),
            (format!("lib/modules/{RELEASE}/build/Module.symvers"), "symbols"),
            ("run/systemd/system/unit".to_owned(), ""),
        ] {
            let path = machine.root().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        machine.setup(&[]).assert().success();
        let eligible = machine.0.eligible();
        machine.0.install("vexfs.ko", &eligible, &["--kernel", RELEASE]).assert().success();
        assert!(machine.is_open());
        machine
    }

    fn root(&self) -> PathBuf {
        self.0.at("root")
    }

    /// Puts a program on the path.
    fn script(&self, name: &str, script: &str) {
        let path = self.0.at(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    }

    fn setup(&self, arguments: &[&str]) -> Command {
        let setup = machine::project::root().join("fixtures/gate/setup.sh");
        let mut command = Command::new(setup);
        command.arg("--root").arg(self.root()).args(arguments);
        command.env("VEXFS_VALIDATE", self.0.at("validate"));
        command
    }

    fn hook(&self, directory: &str) -> PathBuf {
        self.root().join("etc/kernel").join(directory).join("zz-vexfs-gate")
    }

    /// Runs a hook, which must end with 0. Returns what it said.
    fn run(&self, directory: &str) -> String {
        let path = std::env::var("PATH").expect("set");
        let said: Output = Command::new(self.hook(directory))
            .arg(RELEASE)
            .env("DPKG_ROOT", self.root())
            .env("ROOM", self.0.at(""))
            .env("PATH", format!("{}:{path}", self.0.at("").display()))
            .output()
            .expect("run");
        let text = String::from_utf8(said.stderr).expect("text");
        assert!(said.status.success() && said.stdout.is_empty(), "{}: {text}", said.status);
        text
    }

    fn is_open(&self) -> bool {
        self.0.home().join("vexfs.ko").exists()
    }

    /// Whether the next start of the machine validates the module.
    fn is_pending(&self) -> bool {
        self.root().join("var/lib/vexfs-gate").join(RELEASE).join("pending").exists()
    }

    /// What systemd was told.
    fn started(&self) -> String {
        fs::read_to_string(self.0.at("started")).unwrap_or_default()
    }
}

#[test]
fn a_new_kernel_is_shut_and_its_validation_starts() {
    let machine = Machine::new();
    let said = machine.run("postinst.d");
    assert!(said.contains("FUSE serves on kernel") && said.contains("until the module"), "{said}");
    assert!(!machine.is_open() && machine.is_pending());
    let status = machine.0.status();
    assert!(status.contains("last upgrade waits for its turn, or was cut off"), "{status}");
    assert_eq!(
        machine.started(),
        "restart --no-block vexfs-gate@6.12.117\\x2bdeb12-amd64.service\n"
    );
}

#[test]
fn headers_start_it_where_no_module_is_installed() {
    let machine = Machine::new();
    assert_eq!(machine.run("header_postinst.d"), "");
    assert!(machine.is_open() && machine.started().is_empty() && !machine.is_pending());
    fs::remove_dir_all(machine.0.home()).expect("removed");
    machine.run("header_postinst.d");
    assert!(machine.started().starts_with("restart "), "{}", machine.started());
}

#[test]
fn whatever_is_missing_the_kernel_is_installed_and_fuse_serves() {
    let headers = format!("lib/modules/{RELEASE}/build/Module.symvers");
    type Sabotage<'a> = &'a dyn Fn(&Machine);
    let gone = |path: &str, machine: &Machine| {
        let path = machine.root().join(path);
        fs::rename(&path, path.with_extension("gone")).expect("renamed");
    };
    let cases: [(Sabotage<'_>, &str); 4] = [
        (&|machine| gone(&headers, machine), "apt-get install linux-headers-6.12.117"),
        (&|machine| gone("run/systemd", machine), "there is no systemd"),
        (&|machine| machine.script("systemctl", "exit 1"), "systemd does not validate the module"),
        // The checkout was removed, or its program is broken.
        (&|machine| machine.script("validate", "exit 20"), "until the module is validated"),
    ];
    for (sabotage, says) in cases {
        let machine = Machine::new();
        sabotage(&machine);
        let said = machine.run("postinst.d");
        assert!(said.contains(says) && said.contains("FUSE serves"), "{says}: {said}");
        assert!(!machine.is_open() && machine.is_pending(), "{says}");
    }
}

#[test]
fn a_kernel_that_is_removed_leaves_no_module() {
    let machine = Machine::new();
    // Its image is still there where a new package of it has been unpacked.
    assert_eq!(machine.run("postrm.d"), "");
    assert!(!machine.is_open() && machine.started().is_empty());
    fs::remove_file(machine.root().join(format!("boot/vmlinuz-{RELEASE}"))).expect("removed");
    for hook in ["postrm.d", "header_postinst.d"] {
        assert_eq!(machine.run(hook), "");
        assert!(machine.started().is_empty() && !machine.is_pending(), "{hook}");
    }
}

#[test]
fn a_hook_without_a_release_does_nothing() {
    let machine = Machine::new();
    Command::new(machine.hook("postinst.d")).env("DPKG_ROOT", machine.root()).assert().success();
    assert!(machine.is_open());
}

/// The commands in the units are ones that this vexfs-validate understands.
#[test]
fn the_units_start_what_there_is() {
    let machine = Machine::new();
    let units = machine.root().join("etc/systemd/system");
    for (unit, expected) in
        [("vexfs-gate@.service", exit::SETUP), ("vexfs-gate-unfinished.service", exit::SUCCESS)]
    {
        let text = fs::read_to_string(units.join(unit)).expect("installed");
        assert!(!text.contains("@CHECKOUT@") && !text.contains("@PATH@"), "{text}");
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it");
        let start = start.replace("%I", "6.99");
        let mut words = start.split_whitespace();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg("--root").arg(machine.root());
        command.assert().code(code(expected));
    }
    let wanted = units.join("multi-user.target.wants/vexfs-gate-unfinished.service");
    assert!(fs::read_to_string(wanted).expect("a link to it").contains("--unfinished"));
}

#[test]
fn what_was_set_up_is_removed_and_an_installed_module_stays() {
    let machine = Machine::new();
    machine.setup(&[]).assert().success();
    machine.setup(&["--remove"]).assert().success();
    for directory in ["postinst.d", "header_postinst.d", "postrm.d"] {
        assert!(!machine.hook(directory).exists());
    }
    let units = machine.root().join("etc/systemd/system");
    let left: Vec<_> = fs::read_dir(&units).expect("there").map(|one| one.expect("read")).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read_dir(left[0].path()).expect("the wants").count(), 0);
    assert!(machine.is_open() && machine.root().join("etc/vexfs-gate/machine.sec").exists());
}

#[test]
fn what_others_may_write_is_not_run_by_root() {
    let machine = Machine::new();
    machine.setup(&["--remove"]).assert().success();
    let program = machine.0.at("validate");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).expect("set");
    machine.setup(&[]).assert().code(1).stderr(contains("can be written by others"));
    assert!(!machine.hook("postinst.d").exists());
    fs::remove_file(program).expect("removed");
    machine.setup(&[]).assert().code(code(exit::SETUP)).stderr(contains("make setup build"));
}
