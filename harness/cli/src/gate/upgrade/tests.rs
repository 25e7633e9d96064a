//! An upgrade that is well, and each sabotaged one, with evidence in place of guests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use evidence::digest::sha256;
use evidence::guest::{Accelerator, GuestEnd};
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::{Environment, Event, GuestEnded, TrialState, Writer, end_of_trail};
use tempfile::TempDir;

use super::*;
use crate::gate::status::{GateState, look};

const RELEASE: &str = "6.12.118+deb12-amd64";
const TRIALS: [&str; 2] = ["fuse::mounts", "module::loads"];
const MODULE: &[u8] = b"the module that was tested";

/// What the guests of an upgrade leave, and what happens beside them.
struct Made {
    room: TempDir,
    /// Why the module is not built, if it is not.
    unbuilt: Option<&'static str>,
    /// Why no guest comes up, if none does.
    no_guest: Option<(Exit, &'static str)>,
    end: GuestEnd,
    /// How each trial ended, and what it said; a trial that is not there was not run.
    ends: Vec<(&'static str, Option<(TrialState, &'static str)>)>,
    /// Trouble on the guest's console.
    trouble: Vec<String>,
    /// The file that lies in the module's place when the guests have ended.
    afterwards: &'static [u8],
}

impl Made {
    /// An upgrade that installs the module.
    fn well() -> Made {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir_all(room.path().join("root/lib/modules").join(RELEASE)).unwrap();
        let passed = |trial| (trial, Some((TrialState::Passed, "")));
        Made {
            room,
            unbuilt: None,
            no_guest: None,
            end: GuestEnd::Exited(0),
            ends: TRIALS.map(passed).into(),
            trouble: Vec::new(),
            afterwards: MODULE,
        }
    }

    fn root(&self) -> PathBuf {
        self.room.path().join("root")
    }

    fn run(&mut self) -> Result<(), Stop> {
        let root = self.root();
        announce(&root, RELEASE)?;
        run(&root, RELEASE, &signer(), self).map(|_| ())
    }

    fn gate(&self) -> GateState {
        look(&Root::new(&self.root()).home(RELEASE), RELEASE, Some(&signer().public_key()))
    }

    /// What `gate status` says of the last upgrade.
    fn told(&self) -> String {
        last_upgrade(&self.root(), RELEASE).unwrap()
    }

    /// Runs it, and checks that nothing is installed, and that both the error and `gate status` say
    /// all of `words`.
    fn is_refused(&mut self, code: Exit, words: &[&str]) {
        let stop = self.run().unwrap_err();
        let told = self.told();
        assert_eq!(stop.exit, code, "{}", stop.message);
        for words in words {
            assert!(stop.message.contains(words), "{words}: {}", stop.message);
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(told.starts_with("refused "), "{told}");
        assert!(told.contains(&format!("gate upgrade --kernel {RELEASE}")), "{told}");
        assert!(matches!(self.gate(), GateState::Empty));
        let modules = self.root().join("lib/modules").join(RELEASE);
        assert_eq!(fs::read_dir(modules).unwrap().count(), 0);
        assert!(!self.root().join("etc").exists());
    }
}

fn signer() -> Signer {
    Signer::new([1, 2, 3, 4, 5, 6, 7, 8], &[7; 32])
}

fn environment(accelerator: Processor) -> Event {
    let programs = [("vexfs.ko", MODULE), ("vexfs_fuse", b"the daemon")];
    Event::Environment(Box::new(Environment {
        place_reason: "made up".into(),
        place_marks: vec![],
        kernel_release: RELEASE.into(),
        cpu: "A processor".into(),
        cpus: 2,
        memory_kib: 8 << 20,
        accelerator,
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        programs: programs.map(|(name, bytes)| (name.to_owned(), sha256(bytes))).into(),
        versions: [].into(),
        clock: None,
        detectors: vec![],
        variables: [].into(),
    }))
}

impl Steps for Made {
    fn build(&mut self, release: &str) -> Result<PathBuf, Stop> {
        assert_eq!(release, RELEASE);
        if let Some(why) = self.unbuilt {
            return Err(Stop::new(exit::REFUSED, why));
        }
        let module = self.room.path().join("vexfs.ko");
        fs::write(&module, MODULE).unwrap();
        Ok(module)
    }

    fn validate(&mut self, release: &str, dir: &Path) -> Result<(), Stop> {
        assert_eq!(release, RELEASE);
        if let Some((exit, why)) = self.no_guest {
            return Err(Stop::new(exit, why));
        }
        let host = Writer::open(dir, Place::Host).unwrap();
        host.write(environment(Processor::Native)).unwrap();
        let trials = TRIALS.map(str::to_owned).into();
        host.write(Event::Expected { at: Place::Guest, trials }).unwrap();
        let guest = Writer::open(dir, Place::Guest).unwrap();
        guest.write(environment(Processor::Tcg)).unwrap();
        guest.write(Event::SelfTest { passed: true, detail: "right".into() }).unwrap();
        for &(trial, end) in &self.ends {
            let trial = trial.to_owned();
            guest.write(Event::TrialStarted { trial: trial.clone() }).unwrap();
            if let Some((state, message)) = end {
                let message = message.to_owned();
                guest.write(Event::TrialFinished { trial, state, seconds: 1.0, message }).unwrap();
            }
        }
        let ended = GuestEnded {
            how: self.end.to_string(),
            fault: self.end.fault(),
            code: self.end.code(),
            console_tail: vec![],
            trouble: self.trouble.clone(),
            host_changes: vec![],
            boot_seconds: Some(15.0),
            first_output_seconds: Some(16.0),
            total_seconds: 200.0,
            accelerator: Accelerator::Tcg,
            evidence: end_of_trail(dir, Place::Guest).unwrap(),
        };
        host.write(Event::GuestEnded(ended)).unwrap();
        fs::write(self.room.path().join("vexfs.ko"), self.afterwards).unwrap();
        Ok(())
    }
}

#[test]
fn what_passes_is_installed_for_that_kernel_and_says_what_it_is() {
    let mut well = Made::well();
    well.run().unwrap();
    let GateState::Open { file, statement, in_the_vm, .. } = well.gate() else { panic!("shut") };
    assert_eq!(fs::read(&file).unwrap(), MODULE);
    assert!(in_the_vm && !statement.is_of_all_criteria());
    let notice = fs::read_to_string(file.with_file_name("load-notice")).unwrap();
    assert!(notice.starts_with("vexfs: passed the functional criteria, and no others,"));
    assert!(well.told().starts_with("validated and installed "), "{}", well.told());
    // Nothing secret goes with it.
    let key = fs::read_to_string(file.with_file_name("key.pub")).unwrap();
    assert_eq!(key, signer().public_key().to_text());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn sabotaged_the_module_does_not_build() {
    let mut made = Made { unbuilt: Some("super.c:7: error: too few arguments"), ..Made::well() };
    made.is_refused(exit::REFUSED, &["the module was not built: ", "too few arguments"]);
}

#[test]
fn sabotaged_the_module_oopses_at_load() {
    let mut made = Made {
        end: GuestEnd::Oopsed("BUG: kernel NULL pointer dereference".into()),
        ends: vec![(TRIALS[0], Some((TrialState::Passed, ""))), (TRIALS[1], None)],
        ..Made::well()
    };
    let words = ["the criteria did not pass: ", "NULL pointer dereference", "module FAIL"];
    made.is_refused(exit::REFUSED, &words);
}

#[test]
fn sabotaged_the_module_leaks() {
    let leak = "3 allocations of the module outlived it";
    let mut made = Made::well();
    made.ends[1].1 = Some((TrialState::Failed, leak));
    made.is_refused(exit::REFUSED, &["the criteria did not pass: ", leak, "module FAIL"]);
    // A leak that the kernel tells of when no trial runs any more.
    let mut made = Made {
        trouble: vec!["BUG vexfs_inode: Objects remaining on __kmem_cache_shutdown()".into()],
        ..Made::well()
    };
    let words = ["the criteria did not pass: ", "Objects remaining", "module INCONCLUSIVE"];
    made.is_refused(exit::REFUSED, &words);
}

#[test]
fn sabotaged_a_criterion_fails() {
    for (index, area) in [(0, "fuse FAIL"), (1, "module FAIL")] {
        let mut made = Made::well();
        made.ends[index].1 = Some((TrialState::Failed, "a row is not the one that was written"));
        made.is_refused(exit::REFUSED, &["the criteria did not pass: ", "a row is not", area]);
    }
    // What is not there, or not decided, has not passed.
    let mut made = Made::well();
    made.ends.pop();
    made.is_refused(exit::REFUSED, &["module INCONCLUSIVE", "was not run"]);
    let mut made = Made::well();
    made.ends[1].1 = Some((TrialState::Undecided, "no module"));
    made.is_refused(exit::REFUSED, &["module INCONCLUSIVE", "no module"]);
}

#[test]
fn sabotaged_the_guest_hangs() {
    let cut = vec![(TRIALS[0], Some((TrialState::Passed, ""))), (TRIALS[1], None)];
    for end in [
        GuestEnd::LockedUp("watchdog: BUG: soft lockup".into()),
        GuestEnd::Silent(120),
        GuestEnd::TimedOut(300),
        GuestEnd::Died,
    ] {
        let how = end.to_string();
        let mut made = Made { end, ends: cut.clone(), ..Made::well() };
        made.is_refused(exit::REFUSED, &["the criteria did not pass: ", &how]);
    }
    let mut made =
        Made { no_guest: Some((exit::BOOT, "the guest did not come up")), ..Made::well() };
    made.is_refused(exit::BOOT, &["no guest came up: ", "did not come up"]);
}

#[test]
fn sabotaged_the_attestation_is_of_another_file() {
    let mut made = Made { afterwards: b"built in the meantime", ..Made::well() };
    made.is_refused(exit::REFUSED, &["it was not installed: ", "module", "nothing is installed"]);
    // The attestation is there, signed, and of the file that was tested.
    let evidence = evidence_dirs(&made);
    let (statement, _) =
        crate::attest::open(&evidence[0].join(ATTESTATION), &signer().public_key()).unwrap();
    assert_eq!(statement.module_sha256(), sha256(MODULE));
}

#[test]
fn a_refusal_leaves_what_was_installed_before() {
    let mut made = Made::well();
    made.run().unwrap();
    made.unbuilt = Some("error: unknown type name");
    made.run().unwrap_err();
    assert!(matches!(made.gate(), GateState::Open { .. }));
    assert!(made.told().contains("unknown type name"), "{}", made.told());
}

fn evidence_dirs(made: &Made) -> Vec<PathBuf> {
    let home = made.root().join("var/lib/vexfs-gate").join(RELEASE);
    let mut all: Vec<PathBuf> =
        fs::read_dir(home).unwrap().map(|one| one.unwrap().path()).collect();
    all.retain(|path| path.is_dir());
    all
}

#[test]
fn a_killed_upgrade_is_reported_and_its_evidence_makes_room() {
    let made = Made::well();
    let journal = Journal::open(&made.root(), RELEASE).unwrap();
    let killed = journal.begin(1_795_358_701_000).unwrap();
    drop(journal);
    let told = made.told();
    assert!(told.starts_with("began 2026-11-22 14:45:01 UTC, and has not ended"), "{told}");
    let mut made = made;
    made.run().unwrap();
    assert!(!killed.exists());
    let installed = evidence_dirs(&made);
    assert_eq!(installed.len(), 1);
    made.unbuilt = Some("no compiler");
    made.run().unwrap_err();
    assert!(installed[0].exists(), "the installed module's attestation names it");
    assert_eq!(evidence_dirs(&made).len(), 2);
}

#[test]
fn an_interrupted_upgrade_is_to_be_done_once_more() {
    let mut made = Made::well();
    made.no_guest = Some((exit::INTERRUPTED, "interrupted"));
    assert_eq!(made.run().unwrap_err().exit, exit::INTERRUPTED);
    assert!(
        made.told().contains("has not ended; if no upgrade runs any more: "),
        "{}",
        made.told()
    );
    assert!(matches!(made.gate(), GateState::Empty));
    let other = "6.1.0-56-amd64";
    fs::create_dir_all(made.root().join("lib/modules").join(other)).unwrap();
    assert_eq!(unfinished(&made.root()).unwrap(), [RELEASE]);
    made.no_guest = None;
    made.run().unwrap();
    assert_eq!(unfinished(&made.root()).unwrap(), [""; 0]);
    assert_eq!(unfinished(&made.root().join("nowhere")).unwrap(), [""; 0]);
}

/// The first is done for minutes, and the machine is restarted before the second has begun.
#[test]
fn an_upgrade_that_waits_for_its_turn_is_not_forgotten() {
    let mut made = Made::well();
    made.run().unwrap();
    assert_eq!(unfinished(&made.root()).unwrap(), [""; 0]);
    announce(&made.root(), RELEASE).unwrap();
    assert_eq!(unfinished(&made.root()).unwrap(), [RELEASE]);
    let told = made.told();
    assert!(told.starts_with("waits for its turn, or was cut off; "), "{told}");
    assert!(told.contains("validated and installed "), "{told}");
    let new = Made::well();
    announce(&new.root(), RELEASE).unwrap();
    assert!(new.told().starts_with("waits for its turn"), "{}", new.told());
    // What has ended, however it has, is not done again by itself.
    made.unbuilt = Some("no compiler");
    made.run().unwrap_err();
    assert_eq!(unfinished(&made.root()).unwrap(), [""; 0]);
}

#[test]
fn a_refused_kernel_keeps_no_other_from_its_upgrade() {
    let kernels = ["a", "b", "c"].map(str::to_owned);
    let play = |ends: &[Option<Exit>]| {
        let mut tried = 0;
        let result = each(&kernels, |kernel| {
            tried += 1;
            match ends[tried - 1] {
                Some(exit) => Err(Stop::new(exit, kernel)),
                None => Ok(ExitCode::SUCCESS),
            }
        });
        (tried, result.map(|_| ()).map_err(|stop| (stop.exit, stop.message)))
    };
    let refused = |kernel: &str| Err((exit::REFUSED, kernel.to_owned()));
    assert_eq!(play(&[None, None, None]), (3, Ok(())));
    assert_eq!(play(&[None, Some(exit::REFUSED), None]), (3, refused("b")));
    let interrupted = Err((exit::INTERRUPTED, "b".to_owned()));
    assert_eq!(play(&[Some(exit::REFUSED), Some(exit::INTERRUPTED), None]), (2, interrupted));
}

#[test]
fn an_unreadable_record_is_reported() {
    let made = Made::well();
    assert_eq!(last_upgrade(&made.root(), RELEASE), None);
    let home = made.root().join("var/lib/vexfs-gate").join(RELEASE);
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("upgrade.json"), "half a rec").unwrap();
    assert!(made.told().contains("upgrade.json: "), "{}", made.told());
}
