//! A daemon that harms its users may fail one trial, but not the process that runs all trials, and
//! nothing of it may be left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use criteria::trial::MOST_VARIABLE;
use evidence::place::Place;
use evidence::{Event, TrialState, read_trail};
use machine::child::Running;
use machine::deadline::wait_for;
use machine::place::DIR_VARIABLE;
use machine::temporary::room;
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

/// Limit for a trial that takes a second, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A room for one run: configuration, evidence, and the directory for temporary files.
struct Workplace(TempDir);

impl Workplace {
    /// A workplace whose `vexfs.toml` names `plain_fuse`.
    fn new() -> Workplace {
        // TMPDIR of the run, so that everything it leaves would be here.
        let room = room().unwrap();
        let config = format!("fuse = {:?}\n", example("plain_fuse"));
        fs::write(room.path().join("vexfs.toml"), config).unwrap();
        Workplace(room)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command that runs criterion 1 with `arguments` on a daemon with `fault`.
    fn criterion(&self, fault: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(example("fuse_criterion"));
        command.args(arguments).env_remove("NEXTEST").env("TMPDIR", self.path());
        command.env("VEXFS_CONFIG", self.path().join("vexfs.toml")).env("PLAIN_FUSE", fault);
        command
    }

    /// The mounts in it now.
    fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let path = self.path().to_str().unwrap();
        mounts.lines().filter(|line| line.contains(path)).map(str::to_owned).collect()
    }

    /// The command lines of processes that mention it.
    fn processes(&self) -> Vec<String> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let lines = all.map(|one| fs::read(one.path().join("cmdline")).unwrap_or_default());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        lines.filter(|line| line.contains(self.path().to_str().unwrap())).collect()
    }

    /// Checks that within the limit no mounts or processes are left in it.
    fn is_empty(&self) {
        let left = || (self.mounts(), self.processes());
        let empty = wait_for("", LIMIT, || Ok((left() == (vec![], vec![])).then_some(())));
        assert!(empty.is_ok(), "left: {:?}", left());
    }

    /// Checks that within the limit no files are left in it.
    fn has_only_its_configuration(&self) {
        let files = || -> Vec<_> {
            fs::read_dir(self.path()).unwrap().flatten().map(|one| one.file_name()).collect()
        };
        let gone = wait_for("", LIMIT, || Ok((files() == ["vexfs.toml"]).then_some(())));
        assert!(gone.is_ok(), "{:?}", files());
    }
}

/// An example program, which cargo builds with the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn sigbus_ends_one_trial() {
    let room = Workplace::new();
    // Two trials in one process: the second must still run after the first.
    let arguments = ["mapping", "--test-threads=1"];
    let output = room.criterion("forgets", &arguments).output().unwrap();
    let text = said(&output);
    assert!(text.contains("test result: FAILED"), "{text}");
    assert!(
        text.contains(
            "mappings_outlive_name_and_descriptor: the process that tried it was killed by SIGBUS"
        ),
        "{text}"
    );
    assert!(text.contains("fuse::mappings_grow_by_mremap"), "{text}");
    room.is_empty();
}

/// What is told of a daemon that has died.
const DEAD: &str = "by then the FUSE daemon exited with status 3; its last words:\nplain_fuse: \
                    assertion failed: the moon is full";

/// What a faulty daemon does to the trials that are not operations of the table.
#[rstest::rstest]
#[case::walk_of_forgotten("forgets", "walks_as_tmpfs_does", "differs from the referee")]
#[case::walk_of_huge("huge-sizes", "walks_as_tmpfs_does", "differs from the referee")]
#[case::msync_of_forgotten("forgets", "a_killed_msync_of_many_pages_loses_no_row", "ATTACH")]
#[case::msync_of_huge(
    "huge-sizes",
    "a_killed_msync_of_many_pages_loses_no_row",
    "bytes says that it has 1099511627776"
)]
#[case::successor_of_huge(
    "huge-sizes",
    "a_successor_keeps_its_mount",
    "what was written is not there"
)]
#[case::dead_before_unmount("dies-at-write", "unmount_leaves_nothing", DEAD)]
#[case::dead_before_a_signal("dies-at-write", "signals_unmount", DEAD)]
fn a_trial_fails_in_words(#[case] fault: &str, #[case] trial: &str, #[case] words: &str) {
    let room = Workplace::new();
    let name = format!("fuse::{trial}");
    let text = said(&room.criterion(fault, &["--exact", &name]).output().unwrap());
    assert!(text.contains("test result: FAILED. 0 passed; 1 failed"), "{text}");
    assert!(text.contains(words), "{text}");
    assert!(!text.contains("the process that tried it"), "{text}");
    room.is_empty();
}

/// No file is unlinked in this trial, so forgetting them does no harm. But the daemon is built on
/// fuser, which may take down the mount of its successor.
#[test]
fn a_successor_of_a_daemon_that_forgets_fails_with_a_message() {
    let room = Workplace::new();
    let arguments = ["--exact", "fuse::a_successor_keeps_its_mount"];
    let text = said(&room.criterion("forgets", &arguments).output().unwrap());
    let ends = ["test result: ok. 1 passed", "the mount was made and has gone"];
    assert!(ends.iter().any(|end| text.contains(end)), "{text}");
    room.is_empty();
}

/// The process that runs the trials goes on, and writes the end of those whose process has died.
#[test]
fn a_trial_whose_process_dies_fails_with_the_signal() {
    let room = Workplace::new();
    let mut criterion = Command::new(example("dying_trials"));
    let evidence = room.path().join("evidence");
    criterion.arg("--test-threads=1").env_remove("NEXTEST").env("TMPDIR", room.path());
    criterion.env("VEXFS_CONFIG", room.path().join("vexfs.toml")).env(DIR_VARIABLE, &evidence);
    let text = said(&criterion.output().unwrap());
    assert!(text.contains("test result: FAILED. 1 passed; 4 failed"), "{text}");
    let records = read_trail(&evidence, Place::Host).unwrap().unwrap().records;
    let ends: Vec<(&str, TrialState, &str)> = records
        .iter()
        .filter_map(|record| match &record.event {
            Event::TrialFinished { trial, state, message, .. } => {
                Some((trial.as_str(), *state, message.as_str()))
            }
            _ => None,
        })
        .collect();
    let due = [
        ("fuse::a_gets_sigbus", TrialState::Failed, "was killed by SIGBUS"),
        ("fuse::b_is_killed_by_somebody", TrialState::Undecided, "was killed by SIGKILL"),
        ("fuse::c_takes_all_memory", TrialState::Failed, "needed more than 2 GiB of memory"),
        ("fuse::d_dies_with_a_mount", TrialState::Failed, "was killed by SIGABRT"),
        ("fuse::e_passes", TrialState::Passed, ""),
    ];
    assert_eq!(ends.len(), due.len(), "{ends:?}");
    for ((trial, state, message), (due_trial, due_state, words)) in ends.into_iter().zip(due) {
        assert_eq!((trial, state), (due_trial, due_state), "{message}");
        assert!(message.contains(words), "{trial}: {message}");
    }
    let seen = |event: &Event| matches!(event, Event::Fact { name, .. } if name == "seen");
    assert_eq!(records.iter().filter(|record| seen(&record.event)).count(), 1);
    room.is_empty();
    fs::remove_dir_all(evidence).unwrap();
    room.has_only_its_configuration();
}

#[test]
fn a_daemon_that_no_signal_ends_is_taken_down() {
    let room = Workplace::new();
    let mut criterion = room.criterion("waits-for-itself", &["--exact", "fuse::append"]);
    let text = said(&criterion.env(MOST_VARIABLE, "3").output().unwrap());
    assert!(text.contains("it hangs: not done within 3 s"), "{text}");
    room.is_empty();
}

/// A daemon that mounts, and later answers nothing any more, to programs of others as well.
#[rstest::rstest]
#[case::walk("walks_as_tmpfs_does")]
#[case::killed("killed_daemon_leaves_no_one_waiting")]
#[case::fuzzed("fuzzed_requests")]
#[case::fio("fio_verifies_what_it_wrote")]
#[case::stress_ng("stress_ng_mixes_operations")]
fn a_daemon_that_falls_mute_fails_the_trial(#[case] trial: &str) {
    let room = Workplace::new();
    let name = format!("fuse::{trial}");
    let mut criterion = room.criterion("falls-mute", &["--exact", &name]);
    let began = Instant::now();
    let text = said(&criterion.env(MOST_VARIABLE, "3").output().unwrap());
    assert!(text.contains("test result: FAILED. 0 passed; 1 failed"), "{text}");
    let words = "it hangs: not done within 3 s, when the FUSE daemon was killed to free it: ";
    assert!(text.contains(words), "{text}");
    assert!(began.elapsed() < LIMIT, "{:?}: {text}", began.elapsed());
    room.is_empty();
}

/// The run is killed in the middle of a trial, with a daemon that hangs.
#[test]
fn nothing_is_left_of_a_run_that_is_killed() {
    let room = Workplace::new();
    let mut criterion = room.criterion("waits-for-itself", &["--exact", "fuse::append"]);
    let running = Running::start(&mut criterion).unwrap();
    wait_for("the daemon to hang", LIMIT, || {
        let processes = fs::read_dir("/proc")?.flatten().filter(|process| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(room.path().to_str().unwrap())
        });
        let threads = processes.flat_map(|one| fs::read_dir(one.path().join("task")));
        let hangs = threads.flatten().flatten().any(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.contains(") D ")
        });
        Ok(hangs.then_some(()))
    })
    .unwrap();
    assert_eq!(room.mounts().len(), 1);
    kill(running.pid(), Signal::SIGKILL).unwrap();
    running.finish(LIMIT).unwrap();
    room.is_empty();
    room.has_only_its_configuration();
}
