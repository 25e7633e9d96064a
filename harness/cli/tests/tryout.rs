//! `vexfs-validate try` and `init` from a newcomer's side, with daemons of every kind: none of them
//! makes it hang, and nothing is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use machine::config::written;
use machine::deadline;
use machine::temporary::room;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Limit for what takes a moment on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A directory for `vexfs.toml`, which is also TMPDIR, so that anything left behind would be in it.
struct Room(TempDir);

impl Room {
    fn new() -> Room {
        Room(room().unwrap())
    }

    fn with(config: &str) -> Room {
        let room = Room::new();
        fs::write(room.config(), config).unwrap();
        room
    }

    /// A room whose `vexfs.toml` names a daemon with these words, mounted as by default.
    fn with_daemon(words: &[&str]) -> Room {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Room::with(&format!("fuse = {}\n", written(&words)))
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("vexfs.toml")
    }

    fn validate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin("vexfs-validate"));
        command.args(arguments).env("NO_COLOR", "1").env("VEXFS_CONFIG", self.config());
        command.env("TMPDIR", self.0.path()).stdin(Stdio::null()).current_dir(self.0.path());
        command
    }

    /// Runs `try`, and returns its output and exit code. Nothing may be left of it.
    fn tried(&self) -> (String, i32) {
        let began = Instant::now();
        let output = self.validate(&["try"]).output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
        self.is_empty();
        let said = said(&output);
        let lines = said.lines().filter(|line| is_numbered(line)).count();
        assert!((2..=10).contains(&lines) || output.status.code() == Some(10), "{said}");
        (self.plain(&said), output.status.code().unwrap())
    }

    /// Removes what differs from one run to another.
    fn plain(&self, said: &str) -> String {
        let text = said.replace(&self.0.path().display().to_string(), "ROOM");
        let text = text.replace(&examples().display().to_string(), "EXAMPLES");
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("vexfs-fuse-") {
            plain.push_str(&rest[..at]);
            plain.push_str("MOUNT");
            rest = &rest[at + "vexfs-fuse-abcdef".len()..];
        }
        plain.push_str(rest);
        // The time that mounting took.
        let lines = plain.lines().map(|line| match line.split_once(" in ") {
            Some((before, after)) if after.ends_with(" s") && before.contains("mounts,") => before,
            _ => line,
        });
        lines.map(|line| format!("{}\n", without_line_number(line))).collect()
    }

    /// Checks that within the limit no mounts, processes or directories are left.
    fn is_empty(&self) {
        let files = || fs::read_dir(self.0.path()).unwrap().flatten().map(|one| one.file_name());
        let made = || files().filter(|name| name.as_encoded_bytes().starts_with(b"vexfs-")).count();
        let empty = || self.mounts().is_empty() && self.processes().is_empty() && made() == 0;
        let waited = deadline::wait_for("", LIMIT, || Ok(empty().then_some(())));
        let left = || (self.mounts(), self.processes(), files().collect::<Vec<_>>());
        assert!(waited.is_ok(), "left: {:?}", left());
    }

    fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let path = self.0.path().to_str().unwrap();
        mounts.lines().filter(|line| line.contains(path)).map(str::to_owned).collect()
    }

    /// The command lines of processes that were given a path in the room, or serve a mount in it.
    fn processes(&self) -> Vec<String> {
        let path = self.0.path().to_str().unwrap().to_owned();
        let all = fs::read_dir("/proc").unwrap().flatten();
        let of = |directory: PathBuf| {
            let read = |name: &str| fs::read(directory.join(name)).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            let serves = format!("VEXFS_VALIDATION_MOUNT={path}");
            (line.contains(&path) || environment.contains(&serves)).then_some(line)
        };
        all.filter_map(|process| of(process.path())).collect()
    }
}

/// Calls `look` until it finds something.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    deadline::wait_for("it", LIMIT, || Ok(look())).unwrap()
}

fn said(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{error}")
}

/// Line numbers in our sources change.
fn without_line_number(line: &str) -> String {
    let Some((before, behind)) = line.split_once(".rs:") else { return line.to_owned() };
    format!("{before}.rs:LINE{}", behind.trim_start_matches(|glyph: char| glyph.is_ascii_digit()))
}

fn is_numbered(line: &str) -> bool {
    line.trim_start().starts_with(|first: char| first.is_ascii_digit()) && !line.starts_with('/')
}

/// The directory of the example daemons, which `cargo test -p cli` builds as well.
fn examples() -> PathBuf {
    let directory = cargo_bin("vexfs-validate").parent().unwrap().join("examples");
    assert!(
        directory.join("plain_fuse").is_file(),
        "there is no {}/plain_fuse; build it with: cargo build -p criteria --examples",
        directory.display()
    );
    directory
}

fn example(name: &str) -> String {
    examples().join(name).display().to_string()
}

/// The reference's daemon, as trials build it.
#[test]
fn the_reference_does_all_ten() {
    let daemon = homes::fuse::build_if_missing().unwrap();
    let room = Room::with("");
    let (said, code) = room.tried();
    assert!(daemon.is_file());
    insta::assert_snapshot!("reference", said);
    assert_eq!(code, 0);
}

#[test]
fn a_file_system_that_is_no_vexfs_is_told_what_it_lacks() {
    let (said, code) = Room::with_daemon(&[&example("plain_fuse")]).tried();
    insta::assert_snapshot!("plain_fuse", said);
    assert_eq!(code, 1);
}

#[test]
fn a_daemon_that_is_not_there_is_named() {
    let (said, code) = Room::with("# mine\nfuse = 'build/nosuch'\n").tried();
    assert!(said.contains("ROOM/build/nosuch is no file, and no program of that name"), "{said}");
    assert_eq!(code, 10);
}

/// The message names the refused option, and the line to write instead.
#[test]
fn a_daemon_that_takes_no_options_is_told_what_to_leave_out() {
    let refuses = "case $1 in -o) echo unknown option -o >&2; exit 1;; esac; exec \"$0\" \"$1\"";
    let words = ["sh", "-c", refuses, &example("plain_fuse")];
    let room = Room::with_daemon(&words);
    let (said, code) = room.tried();
    assert!(said.contains("not with -o size=256M") && said.contains("unknown option -o"), "{said}");
    let advice =
        "leave {options} out; add to vexfs.toml, under [mount]: fuse = \"{program} {mountpoint}\"";
    assert!(said.contains(advice), "{said}");
    assert!(said.contains("  2 works     creates files"), "{said}");
    // Quoted for a shell.
    assert!(said.contains("it was run as: cd ROOM && "), "{said}");
    assert!(said.contains("/sh -c 'case $1 in -o) echo unknown option -o >&2;"), "{said}");
    assert_eq!(code, 1);
    // Follow the advice.
    let config = fs::read_to_string(room.config()).unwrap();
    fs::write(room.config(), config + "\n[mount]\nfuse = \"{program} {mountpoint}\"\n").unwrap();
    let (said, _) = room.tried();
    assert!(said.contains("  1 works     mounts"), "{said}");
    assert!(
        said.contains("given no options, and so no size=") && said.contains("vexfs.toml, line 4"),
        "{said}"
    );
}

/// Programs that are not FUSE daemons.
#[test]
fn a_program_that_mounts_nothing_is_not_waited_for() {
    for (words, says) in [
        (&["sleep", "1000"][..], "invalid option -- 'o'"),
        (&["yes"], "and without options: the FUSE daemon's mount: not within 8 s"),
        (&["sh", "-c", "sleep 1000 & wait"], "the FUSE daemon's mount: not within 8 s"),
        // Endless output, on the stream that is read.
        (&["sh", "-c", "yes >&2"], "| y\n"),
        (&["false"], "exited with status 1"),
    ] {
        let (said, code) = Room::with_daemon(words).tried();
        assert!(said.contains(says), "{words:?}: {said}");
        assert!(said.contains("2 to 10 not tried: the FUSE daemon does not start"), "{said}");
        assert_eq!(code, 1, "{said}");
    }
}

/// As with libfuse's examples without `-f`, the program ends and another process serves the mount.
#[test]
fn a_daemon_that_goes_to_the_background_is_told_to_stay() {
    // One program ends at once, the other when it has mounted.
    let waits = "setsid --fork \"$0\" \"$@\"; for last; do :; done; \
                 until grep -q \" $last \" /proc/mounts; do sleep 0.1; done";
    for script in ["setsid --fork \"$0\" \"$@\"", waits] {
        let room = Room::with_daemon(&["sh", "-c", script, &example("plain_fuse")]);
        let (said, code) = room.tried();
        assert!(
            said.contains("in the foreground (-f where libfuse parses the arguments)"),
            "{said}"
        );
        assert!(said.contains("-> vexfs.toml, line 1: it has to stay in the foreground"), "{said}");
        assert_eq!(code, 1, "{said}");
    }
}

#[test]
fn advice_to_leave_a_word_out_is_given_alone() {
    let script = "shift; setsid --fork \"$0\" \"$@\"";
    let (said, code) =
        Room::with_daemon(&["sh", "-c", script, &example("plain_fuse"), "--background"]).tried();
    assert!(said.contains("leave --background out: fuse = [\""), "{said}");
    let advice = said.lines().find(|line| line.contains("->")).unwrap_or_default();
    assert!(advice.ends_with("/plain_fuse\"]"), "{said}");
    assert_eq!(code, 1);
}

/// The message says where it mounted, and that mount is taken down.
#[test]
fn a_daemon_that_mounts_somewhere_else_leaves_nothing() {
    let room = Room::new();
    let other = room.0.path().join("other");
    fs::create_dir(&other).unwrap();
    let script = format!("exec \"$0\" {}", other.display());
    let words = ["sh", "-c", &script, &example("plain_fuse")].map(str::to_owned);
    fs::write(room.config(), format!("fuse = {}\n", written(&words))).unwrap();
    let (said, code) = room.tried();
    assert!(said.contains(", but ROOM/other was mounted meanwhile; it runs as: cd ROOM"), "{said}");
    assert!(
        said.contains("This command waits 8 s, because a person is watching; the trials wait 30 s"),
        "{said}"
    );
    assert_eq!(code, 1);
}

/// Trying the reference's daemon would say nothing about the module, and the host does not load it.
#[test]
fn a_module_alone_is_told_where_it_is_tried() {
    let room = Room::with("module = 'kernel'\n");
    fs::create_dir(room.0.path().join("kernel")).unwrap();
    fs::write(room.0.path().join("kernel/Kbuild"), "obj-m := myfs.o\n").unwrap();
    let output = room.validate(&["try"]).output().unwrap();
    let said = room.plain(&said(&output));
    assert!(
        said.contains("the kernel module ROOM/kernel (vexfs.toml, line 1), and no FUSE"),
        "{said}"
    );
    let due = "the guest tries it: vexfs-validate guest -- target/debug/vexfs-validate try";
    assert!(said.contains(due), "{said}");
    assert_eq!((said.lines().count(), output.status.code()), (2, Some(1)), "{said}");
}

/// Output may be redirected to a disk that is full.
#[test]
fn a_failed_write_is_reported() {
    let room = Room::new();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in
        [&["--help"][..], &["init", "--fuse", "yes"], &["completion", "bash"], &["place"]]
    {
        let output = room.validate(arguments).stdout(full()).output().unwrap();
        let words = said(&output);
        assert!(words.contains("standard output cannot be written: No space left"), "{words}");
        assert!(
            !words.contains("panicked") && words.lines().count() == 1,
            "{arguments:?}: {words}"
        );
        assert_eq!(output.status.code(), Some(20), "{arguments:?}: {words}");
    }
}

#[test]
fn the_last_words_of_a_dead_daemon_are_shown() {
    let room = Room::with_daemon(&["env", "PLAIN_FUSE=dies-at-write", &example("plain_fuse")]);
    let (said, code) = room.tried();
    let line = said.lines().find(|line| line.starts_with("  2 lacks")).unwrap_or_default();
    assert!(line.contains("by then the FUSE daemon exited with status 3"), "{said}");
    assert!(said.contains("| plain_fuse: assertion failed: the moon is full"), "{said}");
    assert_eq!(said.matches("the moon is full").count(), 1, "one cause is one message: {said}");
    assert!(said.contains("  8 works     ends with status 0 when it is unmounted"), "{said}");
    assert_eq!(code, 1);
}

#[test]
fn a_daemon_that_hangs_is_ended() {
    let room = Room::with_daemon(&["env", "PLAIN_FUSE=waits-for-itself", &example("plain_fuse")]);
    let (said, code) = room.tried();
    assert!(
        said.contains("it hangs: not done within") && said.contains("the FUSE daemon was killed"),
        "{said}"
    );
    assert!(said.contains("earlier things hung, or took too long"), "{said}");
    assert_eq!(code, 1);
    let (said, code) = Room::with_daemon(&[&example("mute_fuse")]).tried();
    assert!(said.contains("has mounted, but does not answer"), "{said}");
    assert_eq!(code, 1);
}

/// Ctrl-C, and a SIGKILL, while a daemon hangs.
#[test]
fn nothing_is_left_of_a_try_that_is_ended() {
    let name = example("plain_fuse");
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let room = Room::with_daemon(&["env", "PLAIN_FUSE=waits-for-itself", &name]);
        let mut trying =
            room.validate(&["try"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(|| (!room.mounts().is_empty()).then_some(()));
        kill(Pid::from_raw(trying.id().cast_signed()), signal).unwrap();
        let status = trying.wait().unwrap();
        if signal == Signal::SIGINT {
            assert_eq!(status.code(), Some(130));
        }
        room.is_empty();
    }
}

/// From nothing to a daemon that is tried, as docs and help describe it.
#[test]
fn init_writes_what_try_reads() {
    let room = Room::new();
    let daemon = example("plain_fuse");
    let told = room.validate(&["init", "--fuse", &daemon]).output().unwrap();
    assert_eq!(told.status.code(), Some(0), "{}", said(&told));
    let words = said(&told);
    assert!(
        words.contains("vexfs.toml is written") && words.contains("next: vexfs-validate try"),
        "{words}"
    );
    let (tried, _) = room.tried();
    assert!(tried.contains("  1 works     mounts"), "{tried}");
    // An existing file is not overwritten.
    let before = fs::read_to_string(room.config()).unwrap();
    let refused = room.validate(&["init", "--fuse", "yes"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("is there already") && said(&refused).contains("--force"));
    assert_eq!(fs::read_to_string(room.config()).unwrap(), before);
    let forced = room.validate(&["init", "--fuse", "yes", "--force"]).output().unwrap();
    assert_eq!(forced.status.code(), Some(0));
    assert!(fs::read_to_string(room.config()).unwrap().contains("fuse = \"yes\""));
}

#[test]
fn init_says_what_it_needs() {
    let room = Room::new();
    fs::write(room.0.path().join("Kbuild"), "").unwrap();
    for (arguments, code, says) in [
        (&[][..], 2, "without a terminal nothing can be asked; give --fuse COMMAND"),
        (&["--fuse", "nosuch"], 2, "nosuch is no file, and no program of that name is on the path"),
        (&["--fuse", "yes", "--mount", "{program}"], 2, "does not say {mountpoint}"),
        (&["--fuse", "yes", "--mount", "{program} {mountpoint"], 2, "lacks its }"),
        (&["--fuse", "yes {mountpoint}"], 2, "this command takes none: options and mount point"),
        (&["--module", ".", "--filesystem", "my fs"], 2, "\"my fs\" is not a valid name"),
        (&["--module", "nosuch.ko"], 2, "nosuch.ko is not there"),
        (&["--filesystem", "myfs"], 2, "--module"),
    ] {
        let output = room.validate(&[&["init"], arguments].concat()).output().unwrap();
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!room.config().exists(), "{arguments:?}");
    }
    let nowhere = Path::new("/proc/nowhere/vexfs.toml");
    let output = room.validate(&["init", "--fuse", "yes"]).env("VEXFS_CONFIG", nowhere).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(20), "{}", said(&output));
}

/// On a terminal, which script(1) provides.
#[test]
fn init_asks_on_a_terminal() {
    let room = Room::new();
    let program = cargo_bin("vexfs-validate");
    let line = format!("{} init", program.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env("VEXFS_CONFIG", room.config()).env("NO_COLOR", "1").current_dir(room.0.path());
    let mut asked = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    use std::io::Write as _;
    asked.stdin.take().unwrap().write_all(b"yes\n3\n\n").unwrap();
    let output = asked.wait_with_output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("1. Your FUSE daemon") && told.contains("3. Your kernel module"),
        "{told}"
    );
    let text = fs::read_to_string(room.config()).unwrap();
    assert!(text.contains("fuse = \"yes\"") && text.contains("fuse = \"{program} {mountpoint}\""));
}
