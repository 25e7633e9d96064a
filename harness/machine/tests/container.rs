//! fixtures/guest/container.sh with a stand-in for podman and docker: what it asks of the engine, in which
//! order, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use machine::child::{Running, output};
use machine::deadline::wait_for;
use machine::project;
use nix::sys::signal::{Signal, kill};

const LIMIT: Duration = Duration::from_secs(120);

/// Notes each call in `calls`, and an image that it fetches or builds in `images`. Its `run` ends with the
/// number in `code`; with `waits` there it runs until the command is interrupted by `exec`. While `broken` is
/// there it does not answer, while `refused` is there a container may not mount.
const ENGINE: &str = r#"#!/bin/bash
cd "$(dirname "$0")"
printf '%s\n' "$*" >>calls
case "$*" in
  --version) echo 'docker version 0' ;;
  info*) [[ ! -e broken ]] || { echo 'Cannot connect to the daemon' >&2; exit 1; } ;;
  'image inspect '*) grep -qxF -- "$3" images ;;
  pull*) echo "${@: -1}" >>images ;;
  build*) while [[ $1 != --tag ]]; do shift; done; echo "$2" >>images ;;
  'run --rm --network none '*) [[ ! -e refused ]] || { echo 'mount: permission denied' >&2; exit 32; } ;;
  run*) while [[ -e waits ]]; do sleep 0.1; done; exit "$(cat code)" ;;
  'container inspect '*) [[ -e waits ]] ;;
  exec*) rm waits ;;
esac
"#;

/// A checkout with the parts that the script reads, and the engine.
struct Checkout {
    place: tempfile::TempDir,
}

impl Checkout {
    fn new() -> Checkout {
        let place = tempfile::tempdir().unwrap();
        let parts = ["container.sh", "registries.sh", "Containerfile", "setup.sh", "kernels.txt"]
            .map(|name| format!("fixtures/guest/{name}"));
        let setup = fs::read_dir(project::root().join("fixtures/guest/setup")).unwrap();
        let setup = setup
            .map(|entry| format!("fixtures/guest/setup/{}", entry.unwrap().file_name().display()));
        let build = "fixtures/vexfs/kernel/build.sh".to_owned();
        for part in parts.into_iter().chain(setup).chain([build]) {
            let to = place.path().join("checkout").join(&part);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(project::root().join(&part), to).unwrap();
        }
        let checkout = Checkout { place };
        for (name, text) in [("engine", ENGINE), ("calls", ""), ("images", ""), ("code", "0")] {
            fs::write(checkout.path(name), text).unwrap();
        }
        fs::set_permissions(checkout.path("engine"), fs::Permissions::from_mode(0o755)).unwrap();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn script(&self, engine: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("checkout/fixtures/guest/container.sh"));
        command.args(arguments).env("ENGINE", engine).env_remove("DEBIAN_IMAGE");
        command.env("https_proxy", "http://user:secret@proxy.example:3128");
        command.env("KERNEL", "6.1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        output(&mut self.script(&self.path("engine"), arguments), LIMIT).unwrap()
    }

    /// The calls since the last look that begin with `word`.
    fn calls(&self, word: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap();
        calls.lines().filter(|call| call.starts_with(word)).map(str::to_owned).collect()
    }

    fn forget_calls(&self) {
        fs::write(self.path("calls"), "").unwrap();
    }

    /// What the script leaves where it gathers the image's parts.
    fn scratch(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("checkout/target/container")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().is_some_and(|name| name != "validation"))
            .collect()
    }
}

fn code_and_words(said: &Output) -> (Option<i32>, String) {
    (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
}

#[test]
fn without_an_engine_it_says_so_and_touches_nothing() {
    let checkout = Checkout::new();
    let none = Path::new("no-such-engine");
    let said = output(&mut checkout.script(none, &["make", "validate"]), LIMIT).unwrap();
    let (code, words) = code_and_words(&said);
    assert_eq!(code, Some(10), "{words}");
    assert!(words.contains("no-such-engine is not installed"), "{words}");
    assert!(words.contains("install podman"), "{words}");
    assert!(!checkout.path("checkout/target").exists());
    assert!(!checkout.path("checkout/.cache").exists());
}

#[test]
fn an_engine_that_does_not_answer_is_named_with_its_reason() {
    let checkout = Checkout::new();
    fs::write(checkout.path("broken"), "").unwrap();
    let (code, words) = code_and_words(&checkout.run(&["--check"]));
    assert_eq!(code, Some(10), "{words}");
    assert!(words.contains("does not work: Cannot connect to the daemon"), "{words}");
}

#[test]
fn what_a_container_may_not_do_is_said_before_anything_is_built() {
    let checkout = Checkout::new();
    fs::write(checkout.path("refused"), "").unwrap();
    let (code, words) = code_and_words(&checkout.run(&["make", "validate"]));
    assert_eq!(code, Some(10), "{words}");
    assert!(words.contains("mount: permission denied"), "{words}");
    assert!(checkout.calls("build").is_empty());
    assert!(checkout.scratch().is_empty());
}

#[test]
fn the_image_is_built_once_and_again_when_its_packages_change() {
    let checkout = Checkout::new();
    fs::write(checkout.path("code"), "7").unwrap();
    assert_eq!(checkout.run(&["make", "test"]).status.code(), Some(7));
    assert_eq!((checkout.calls("pull").len(), checkout.calls("build").len()), (1, 1));
    checkout.forget_calls();

    // Without the base image nothing is fetched: nothing has to be built.
    let images = fs::read_to_string(checkout.path("images")).unwrap();
    let own: String = images.lines().filter(|image| image.starts_with("vexfs")).collect();
    fs::write(checkout.path("images"), own + "\n").unwrap();
    assert_eq!(checkout.run(&["make", "test"]).status.code(), Some(7));
    assert_eq!((checkout.calls("pull").len(), checkout.calls("build").len()), (0, 0));

    let packages = checkout.path("checkout/fixtures/guest/setup/packages.txt");
    fs::write(packages, "fio  another reason\n").unwrap();
    assert_eq!(checkout.run(&["make", "test"]).status.code(), Some(7));
    assert_eq!((checkout.calls("pull").len(), checkout.calls("build").len()), (1, 1));
    assert!(checkout.scratch().is_empty());
}

#[test]
fn variables_are_passed_by_name() {
    let checkout = Checkout::new();
    assert_eq!(checkout.run(&["true"]).status.code(), Some(0));
    let runs = checkout.calls("run");
    let command = runs.last().unwrap();
    assert!(command.contains("--env https_proxy --env"), "{command}");
    assert!(command.contains("--env KERNEL "), "{command}");
    let calls = checkout.calls("");
    assert!(!calls.iter().any(|call| call.contains("secret")), "{calls:?}");
}

#[test]
fn an_interrupted_command_ends_with_its_container() {
    let checkout = Checkout::new();
    fs::write(checkout.path("waits"), "").unwrap();
    let mut script = checkout.script(&checkout.path("engine"), &["make", "validate"]);
    let running = Running::start(&mut script).unwrap();
    wait_for("the container", LIMIT, || Ok(checkout.calls("run --rm --name").first().cloned()))
        .unwrap();
    kill(running.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(running.finish(LIMIT).unwrap().status.code(), Some(130));
    assert!(checkout.calls("exec")[0].contains("kill -INT -1"));
    assert_eq!(checkout.calls("rm --force").len(), 1);
    assert!(checkout.scratch().is_empty());
}
