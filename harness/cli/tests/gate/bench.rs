//! A directory with everything that the gate needs.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::digest::sha256;
use evidence::exit::Exit;
use evidence::place::Place;
use evidence::{Event, Writer, end_of_trail, read_trail};
use sha2::{Digest as _, Sha512};
use tempfile::TempDir;
use verdict::attestation::{BareMetalStanding, Signer, Statement, sign};

pub(crate) const RELEASE: &str = "6.12.117+deb12-amd64";
pub(crate) const MODULE: &[u8] = b"the module that was tested";
pub(crate) const DAEMON: &[u8] = b"the daemon that was tested";
pub(crate) const ID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// The key of `me.sec`.
pub(crate) fn signer() -> Signer {
    Signer::new(ID, &[7; 32])
}

/// A directory with a run, a key pair, the module, the daemon, and a root directory with a kernel.
pub(crate) struct Bench(pub(crate) TempDir);

impl Bench {
    pub(crate) fn new() -> Bench {
        let bench = Bench(tempfile::tempdir().expect("a temporary directory"));
        fs::write(bench.at("vexfs.ko"), MODULE).expect("written");
        fs::write(bench.at("vexfs_fuse"), DAEMON).expect("written");
        fs::create_dir_all(bench.at("root/lib/modules").join(RELEASE)).expect("made");
        bench.key("me", ID, [7; 32]);
        bench
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A throw-away key pair of signify without a passphrase, made from a seed.
    pub(crate) fn key(&self, name: &str, id: [u8; 8], seed: [u8; 32]) {
        let public = Signer::new(id, &seed).public_key();
        let key = [seed, public.bytes()].concat();
        let checksum = &Sha512::digest(&key)[..8];
        let bytes = [b"EdBK\0\0\0\0", [0; 16].as_slice(), checksum, &id, &key].concat();
        let text = format!("untrusted comment: {name}\n{}\n", STANDARD.encode(bytes));
        fs::write(self.at(&format!("{name}.sec")), text).expect("written");
        fs::write(self.at(&format!("{name}.pub")), public.to_text()).expect("written");
    }

    /// Copies a golden run, with the hashes of our module and daemon.
    pub(crate) fn run(&self, golden: &str) -> PathBuf {
        let from = machine::project::root().join("harness/verdict/tests/runs").join(golden);
        let dir = self.at(golden);
        for place in [Place::Guest, Place::Host] {
            let trail = read_trail(&from, place).expect("read").expect("it is there");
            let seen = end_of_trail(&dir, Place::Guest).expect("read");
            let writer = Writer::open(&dir, place).expect("opened");
            for record in trail.records {
                let mut event = record.event;
                match &mut event {
                    Event::Environment(one) => {
                        one.programs.insert("vexfs.ko".into(), sha256(MODULE));
                        one.programs.insert("vexfs_fuse".into(), sha256(DAEMON));
                    }
                    Event::GuestEnded(end) => end.evidence.clone_from(&seen),
                    _ => {}
                }
                writer.write(event).expect("written");
            }
        }
        dir
    }

    /// Attests a run that passed in the VM, emulated.
    pub(crate) fn attested(&self) -> PathBuf {
        let dir = self.run("emulated");
        self.validate(&["attest", "emulated", "--key", "me.sec"]).assert().success();
        dir.join("attestation.intoto.json")
    }

    /// The same attestation for a module that may leave the VM.
    pub(crate) fn eligible(&self) -> PathBuf {
        self.changed("eligible.json", |statement| {
            statement.predicate.tested.bare_metal = BareMetalStanding::Eligible;
        })
    }

    /// The same attestation, changed and signed by the same key.
    pub(crate) fn changed(&self, name: &str, change: impl FnOnce(&mut Statement)) -> PathBuf {
        let key = signer();
        let text = fs::read(self.attested()).expect("read");
        let mut statement = verdict::attestation::open(&text, &key.public_key()).expect("signed");
        change(&mut statement);
        fs::write(self.at(name), sign(&statement, &key)).expect("written");
        self.at(name)
    }

    pub(crate) fn validate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("vexfs-validate").expect("the program is built");
        command.args(arguments).current_dir(self.0.path()).env("NO_COLOR", "1");
        command
    }

    pub(crate) fn verify(&self, file: &Path, arguments: &[&str]) -> Command {
        let mut command = self.validate(&["verify"]);
        command.arg(file).args(["--key", "me.pub"]).args(arguments);
        command
    }

    pub(crate) fn install(&self, module: &str, attestation: &Path, arguments: &[&str]) -> Command {
        let mut command = self.validate(&["gate", "install", module, "--root", "root"]);
        command.args(["--key", "me.pub", "--attestation"]).arg(attestation).args(arguments);
        command
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.at("root/lib/modules").join(RELEASE).join("updates/vexfs-gate")
    }

    pub(crate) fn status(&self) -> String {
        let said = self.validate(&["gate", "status", "--root", "root"]).output().expect("run");
        assert!(said.status.success());
        String::from_utf8(said.stdout).expect("text")
    }
}

pub(crate) fn code(exit: Exit) -> i32 {
    i32::from(exit.code)
}
