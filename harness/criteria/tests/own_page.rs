//! Runs docs/own-vexfs.md as its reader would: the files that it shows must be those of
//! fixtures/own, its commands are run, and each line of output that it shows must come.
//!
//! `make foreign` runs the guest's commands, and looks for the page's lines in the evidence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use machine::project;

fn page() -> String {
    fs::read_to_string(project::root().join("docs/own-vexfs.md")).unwrap()
}

/// The code blocks of the page in `language`.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let blocks = page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(str::to_owned).collect()
}

/// Joins words by single blanks, because libtest pads names.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn fuse_criterion() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/fuse_criterion")
}

/// Runs a command of the page in the checkout, and returns its output. `fuse_criterion` stands in
/// for `tests/fuse.rs`: it does the same, and cargo has built it.
fn run(line: &str, config: Option<&str>) -> String {
    let mut words = line.split_whitespace();
    let mut command = match line.strip_prefix("cargo test --test fuse ") {
        Some(filter) => {
            let mut command = Command::new(fuse_criterion());
            command.arg(filter);
            command
        }
        None => {
            let mut command = Command::new(words.next().unwrap());
            command.args(words);
            command
        }
    };
    if let Some(config) = config {
        command.env("VEXFS_CONFIG", config);
    }
    command.env_remove("NEXTEST").env_remove("NEXTEST_RUN_ID").current_dir(project::root());
    let output = command.output().unwrap();
    [output.stdout, output.stderr].map(|one| String::from_utf8_lossy(&one).into_owned()).concat()
}

/// Checks that the set-up installs the packages that the page installs, so that its commands work
/// here.
fn is_in_the_set_up(packages: &str) {
    let path = project::root().join("fixtures/guest/setup/packages.txt");
    let text = fs::read_to_string(path).unwrap();
    for package in packages.split_whitespace() {
        let listed = text.lines().any(|line| line.split(' ').next() == Some(package));
        assert!(listed, "fixtures/guest/setup/packages.txt does not name {package}");
    }
}

fn plays(block: &str) {
    let (mut config, mut output) = (None, String::new());
    for line in block.lines() {
        let Some(command) = line.strip_prefix("$ ") else {
            let due = squeezed(line);
            let found = output.lines().any(|line| squeezed(line) == due);
            assert!(found, "the page prints {line:?}, and what came is:\n{output}");
            continue;
        };
        if let Some(packages) = command.strip_prefix("sudo apt-get install ") {
            is_in_the_set_up(packages);
        } else if let Some(path) = command.strip_prefix("export VEXFS_CONFIG=") {
            assert!(Path::new(&project::root()).join(path).is_file(), "{path} is not there");
            config = Some(path.to_owned());
        } else {
            output = run(command, config.as_deref());
        }
    }
}

#[test]
fn commands_on_the_page_print_what_it_shows() {
    let blocks = blocks(&page(), "console");
    let of_daemons: Vec<&String> =
        blocks.iter().filter(|block| block.contains("cargo test --test fuse")).collect();
    assert_eq!(of_daemons.len(), 2, "one of Python's and one of C's");
    for block in of_daemons {
        plays(block);
    }
}

#[test]
fn files_on_the_page_equal_the_fixtures() {
    let mut shown = 0;
    for block in blocks(&page(), "toml") {
        let Some((first, rest)) = block.split_once('\n') else { continue };
        let Some(path) = first.strip_prefix("# fixtures/") else { continue };
        let there = fs::read_to_string(project::root().join("fixtures").join(path)).unwrap();
        assert_eq!(rest, there, "{path}");
        shown += 1;
    }
    assert_eq!(shown, 3, "a daemon in Python, one in C, a module");
}
