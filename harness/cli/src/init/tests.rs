use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// A directory with a daemon, a script and a module's sources, and the path of the file to write.
fn room() -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    fs::write(at("daemon"), "").unwrap();
    fs::set_permissions(at("daemon"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(at("memfs.py"), "").unwrap();
    fs::write(at("memfs.c"), "").unwrap();
    fs::create_dir(at("kernel")).unwrap();
    fs::write(at("kernel/Kbuild"), "").unwrap();
    let path = at("vexfs.toml");
    (room, path)
}

fn given(fuse: &str, mount: &str, module: &str) -> Answers {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Answers { fuse: some(fuse), mount: some(mount), module: some(module), filesystem: None }
}

#[test]
fn a_file_says_what_it_was_told() {
    let (room, path) = room();
    let answers = given("daemon -f", "{program} {mountpoint} {options}", "kernel");
    let settled = answers.settle(room.path(), &path).unwrap();
    insta::assert_snapshot!("all", file::text(&settled));
    let answers = Answers { filesystem: Some("myfs".into()), ..given("", "", "kernel") };
    let settled = answers.settle(room.path(), &path).unwrap();
    insta::assert_snapshot!("a_module_alone", file::text(&settled));
}

#[rstest::rstest]
#[case("", "", "", "neither a daemon nor a module is named")]
#[case("nosuch", "", "", "nosuch is no file, and no program of that name is on the path")]
#[case(
    "memfs.py",
    "",
    "",
    "memfs.py is not executable; run chmod +x on it, or name its interpreter"
)]
#[case("memfs.c", "", "", "memfs.c is source code; name the program that is built from it")]
#[case("kernel", "", "", "kernel has no Cargo.toml")]
#[case("daemon", "{program}", "", "mount.fuse: the command does not say {mountpoint}")]
#[case("daemon", "{program} {where}", "", "an unknown placeholder")]
#[case("daemon", "nosuch {mountpoint}", "", "mount.fuse: ")]
#[case("daemon {mountpoint}", "", "", "a placeholder, and this command takes none")]
#[case("", "{program} {mountpoint}", "", "--mount says how to mount the daemon of --fuse")]
#[case("", "{program} {mountpoint}", "kernel", "--mount says how to mount the daemon of --fuse")]
#[case("daemon", "", "nosuch.ko", "nosuch.ko is not there")]
#[case("daemon", "", "daemon", "daemon is no kernel module")]
#[case("daemon", "", ".", "has neither Kbuild nor Makefile")]
fn unusable_answers_are_refused(
    #[case] fuse: &str,
    #[case] mount: &str,
    #[case] module: &str,
    #[case] part: &str,
) {
    let (room, path) = room();
    let settled = given(fuse, mount, module).settle(room.path(), &path);
    let said = settled.unwrap_err().to_string();
    assert!(said.contains(part), "{said}");
    assert!(!said.contains("vexfs.toml: "), "there is no such file yet: {said}");
}

/// The person is in one directory, and the file goes into another.
#[test]
fn paths_are_rewritten_for_the_directory_of_the_file() {
    let (room, _) = room();
    let checkout = tempfile::tempdir().unwrap();
    let path = checkout.path().join("vexfs.toml");
    let real = room.path().canonicalize().unwrap();
    let settled = given("sh memfs.py", "", "kernel").settle(room.path(), &path).unwrap();
    let script = real.join("memfs.py").display().to_string();
    assert_eq!(settled.fuse, Some(vec!["sh".to_owned(), script.clone()]));
    assert_eq!(settled.module, Some(real.join("kernel").display().to_string()));
    let note =
        format!("memfs.py is written as {script}, because paths begin in the file's directory");
    assert!(settled.notes.contains(&note), "{:?}", settled.notes);
    fs::create_dir(room.path().join("my dir")).unwrap();
    fs::rename(room.path().join("daemon"), room.path().join("my dir/daemon")).unwrap();
    let settled = given("my dir/daemon", "", "").settle(room.path(), &path).unwrap();
    assert!(
        file::text(&settled)
            .contains(&format!("fuse = [\"{}\"]", real.join("my dir/daemon").display()))
    );
}

#[test]
fn ambiguous_words_are_noted() {
    let (room, path) = room();
    let notes = |fuse: &str, mount: &str| {
        given(fuse, mount, "").settle(room.path(), &path).unwrap().notes.join("\n")
    };
    assert!(notes("sh nosuch.py", "").contains("nosuch.py is not there"));
    // The set-up installs it.
    let notes_of_python = notes("python3 memfs.py", "");
    assert!(notes_of_python.contains("python3 is the checkout's own"), "{notes_of_python}");
    assert!(!notes("sh memfs.py", "").contains("the checkout's own"));
    // A program on the path is not taken for a file in this directory.
    assert_eq!(notes("sh memfs.py", ""), "");
    assert!(notes("daemon", "{program} {mountpoint}").contains("small mounts cannot pass"));
    assert!(notes("daemon", "./daemon {options} {mountpoint}").contains("has no {program}"));
}

/// A refused answer is asked for again, with the reason.
#[test]
fn three_questions_are_asked() {
    let (room, path) = room();
    let said = "nosuch\ndaemon -f\n7\n{program}\n3\nnowhere.ko\nkernel\n";
    let mut told = Vec::new();
    let settled = ask(&mut Cursor::new(said), &mut told, room.path(), &path).unwrap();
    let told = String::from_utf8(told).unwrap().replace(&room.path().display().to_string(), "ROOM");
    insta::assert_snapshot!("questions", told);
    let text = file::text(&settled);
    assert!(text.contains("\nfuse = \"daemon -f\"\n") && text.contains("\nmodule = \"kernel\"\n"));
    assert!(text.contains("\nfuse = \"{program} {mountpoint}\"\n"), "{text}");
    let cut = ask(&mut Cursor::new("daemon\n"), &mut Vec::new(), room.path(), &path);
    assert_eq!(cut.unwrap_err().to_string(), "the answers ended too early; nothing is written");
    let none = ask(&mut Cursor::new("\n\n"), &mut Vec::new(), room.path(), &path);
    assert!(none.unwrap_err().to_string().starts_with("neither a daemon nor a module"));
}
