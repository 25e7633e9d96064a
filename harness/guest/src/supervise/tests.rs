//! Tests of the supervisor, with shell scripts in place of virtme-ng.

use super::*;
use rstest::rstest;

#[derive(Default)]
struct Recorder {
    output: Vec<String>,
    troubles: usize,
}

impl Observer for Recorder {
    fn notice(&mut self, _text: &str) {}
    fn output(&mut self, line: &str) {
        self.output.push(line.to_owned());
    }
    fn trouble(&mut self, _finding: &Finding) {
        self.troubles += 1;
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
const GENEROUS: GuestLimits =
    GuestLimits { boot: ms(60_000), silence: ms(60_000), total: ms(60_000) };
const UP: &str = "echo '{\"state\":\"running\",\"root\":\"virtiofs\"}' > guest-status.json;";

struct Room {
    evidence: tempfile::TempDir,
    scratch: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        Room { evidence: tempfile::tempdir().unwrap(), scratch: tempfile::tempdir().unwrap() }
    }

    /// Supervises a shell script in place of virtme-ng.
    fn watch(&self, script: &str, limits: GuestLimits, recorder: &mut Recorder) -> Observed {
        self.watch_until(script, limits, &|| false, recorder).unwrap()
    }

    fn watch_until(
        &self,
        script: &str,
        limits: GuestLimits,
        interrupted: &dyn Fn() -> bool,
        recorder: &mut Recorder,
    ) -> Result<Observed, VmError> {
        let evidence = self.evidence.path();
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(evidence);
        Supervisor {
            evidence,
            scratch: self.scratch.path(),
            limits,
            interactive: false,
            interrupted,
        }
        .run(&mut command, recorder)
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.evidence.path().join(name)).unwrap()
    }
}

/// Whether the process is still running; a zombie is not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn both_streams_are_kept_and_told_apart() {
    let (room, mut recorder) = (Room::new(), Recorder::default());
    let script = format!("{UP} for i in 1 2 3; do echo out $i; echo con $i >&2; done; exit 5");
    let seen = room.watch(&script, GENEROUS, &mut recorder);
    assert_eq!(seen.stop, StopReason::Ended);
    assert_eq!(recorder.output, ["out 1", "out 2", "out 3"]);
    assert_eq!(room.log(OUTPUT_FILE), "out 1\nout 2\nout 3\n");
    assert_eq!(room.log(CONSOLE_FILE), "con 1\ncon 2\ncon 3\n");
    assert!(seen.boot.is_some() && seen.first_output.is_some());
}

#[test]
fn nothing_is_lost_of_much_output() {
    let (room, mut recorder) = (Room::new(), Recorder::default());
    let script = format!("{UP} seq 1 50000; seq 1 50000 >&2");
    room.watch(&script, GENEROUS, &mut recorder);
    assert_eq!(recorder.output.len(), 50_000);
    assert_eq!(room.log(CONSOLE_FILE).lines().count(), 50_000);
}

#[test]
fn trouble_is_noticed() {
    let (room, mut recorder) = (Room::new(), Recorder::default());
    let script = format!("{UP} echo '[ 1.5] Kernel panic - not syncing: test' >&2");
    let seen = room.watch(&script, GENEROUS, &mut recorder);
    assert_eq!(seen.findings.len(), 1);
    assert_eq!(recorder.troubles, 1);
}

#[rstest]
#[case::never_up("sleep 1000", GuestLimits { boot: ms(300), ..GENEROUS }, StopReason::BootSilence(0))]
#[case::boots_again_and_again(
    "while echo booting >&2; do sleep 0.1; done",
    GuestLimits { boot: ms(1_500), ..GENEROUS },
    StopReason::BootLimit(9)
)]
#[case::stuck_in_its_boot(
    "while echo 'INFO: task init:1 blocked for more than 120 seconds' >&2; do sleep 0.1; done",
    GuestLimits { boot: ms(500), ..GENEROUS },
    StopReason::BootSilence(0)
)]
#[case::silent(
    &format!("{UP} echo once; sleep 1000"),
    GuestLimits { silence: ms(300), ..GENEROUS },
    StopReason::SilenceLimit(0)
)]
#[case::stuck_and_saying_so(
    &format!("{UP} while echo 'watchdog: BUG: soft lockup' >&2; do sleep 0.1; done"),
    GuestLimits { silence: ms(300), ..GENEROUS },
    StopReason::SilenceLimit(0)
)]
#[case::endless(
    &format!("{UP} while echo again; do sleep 0.1; done"),
    GuestLimits { total: ms(1500), ..GENEROUS },
    StopReason::TimeLimit(1)
)]
fn limits_end_all_of_it(
    #[case] script: &str,
    #[case] limits: GuestLimits,
    #[case] stop: StopReason,
) {
    let (room, mut recorder) = (Room::new(), Recorder::default());
    // A process that has left its parent, as virtiofsd does, and writes down its process id.
    let script = format!("(sleep 1000 & echo $! > orphan); {script}");
    assert_eq!(room.watch(&script, limits, &mut recorder).stop, stop);
    assert!(!runs(&room.log("orphan")));
    assert!(!room.scratch.path().exists());
}

/// On a busy machine, a boot may take longer than any limit that was thought of, and still make
/// progress.
#[test]
fn a_slow_boot_is_waited_for_while_it_goes_on() {
    let (room, mut recorder) = (Room::new(), Recorder::default());
    let boots = "for i in 1 2 3 4 5 6 7 8; do sleep 0.6; echo unit $i >&2; done;";
    let limits = GuestLimits { boot: ms(3_000), ..GENEROUS };
    let seen = room.watch(&format!("{boots} {UP} echo done"), limits, &mut recorder);
    assert_eq!(seen.stop, StopReason::Ended);
    assert!(seen.boot.is_some_and(|boot| boot > ms(3_000)));
}

/// virtme-ng's fallback when the ports for the command's output come too late.
#[test]
fn a_command_may_speak_on_the_console() {
    let (room, mut recorder) = (Room::new(), Recorder::default());
    let speaks = "for i in 1 2 3 4 5 6 7; do sleep 0.6; echo trial $i >&2; done";
    let limits = GuestLimits { silence: ms(3_000), ..GENEROUS };
    let seen = room.watch(&format!("{UP} {speaks}"), limits, &mut recorder);
    assert_eq!(seen.stop, StopReason::Ended);
    assert!(seen.total > ms(3_500));
}

#[test]
fn an_interruption_ends_all_of_it() {
    let (room, mut recorder) = (Room::new(), Recorder::default());
    let begun = room.evidence.path().join("begun");
    let script = format!("trap '' INT TERM; {UP} touch begun; sleep 1000");
    let seen = room.watch_until(&script, GENEROUS, &|| begun.exists(), &mut recorder).unwrap();
    assert_eq!(seen.stop, StopReason::Interrupted);
    assert!(!room.scratch.path().exists());
}

#[test]
fn a_full_disk_is_an_error_and_ends_all_of_it() {
    let (room, mut recorder) = (Room::new(), Recorder::default());
    std::os::unix::fs::symlink("/dev/full", room.evidence.path().join(OUTPUT_FILE)).unwrap();
    let script = format!("{UP} echo $$ > leader; echo something; sleep 1000");
    let error = room.watch_until(&script, GENEROUS, &|| false, &mut recorder).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(!runs(&room.log("leader")));
}

#[test]
fn a_program_that_cannot_be_started_is_an_error() {
    let room = Room::new();
    let supervisor = Supervisor {
        evidence: room.evidence.path(),
        scratch: room.scratch.path(),
        limits: GENEROUS,
        interactive: false,
        interrupted: &|| false,
    };
    let outcome = supervisor.run(&mut Command::new("/nonexistent/vng"), &mut Recorder::default());
    assert!(matches!(outcome, Err(VmError::System { .. })));
}
