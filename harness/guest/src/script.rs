//! The command of the guest, written as a script into the evidence directory, where a person can
//! read and repeat it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use evidence::shell::quoted;
use machine::project;
use machine::{programs, settings};

use super::error::VmError;
use super::request::GuestWork;

/// The name of the script in the evidence directory.
pub const COMMAND_FILE: &str = "guest-command.sh";

/// The first of our programs in the guest. virtme-ng's own init starts it.
pub(super) fn init() -> PathBuf {
    project::root().join("fixtures/guest/init.sh")
}

/// Writes the script that does `work`.
pub(super) fn write(
    evidence: &Path,
    work: &GuestWork,
    environment: &[(String, String)],
) -> Result<(), VmError> {
    let path = evidence.join(COMMAND_FILE);
    let text = text(work, &[base_environment(), environment.to_vec()].concat());
    fs::write(&path, text).map_err(VmError::evidence(path))
}

fn text(work: &GuestWork, environment: &[(String, String)]) -> String {
    let mut text = "#!/bin/bash\n# Run in the guest by fixtures/guest/init.sh.\n".to_owned();
    for (name, value) in environment {
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    let _ = writeln!(text, "cd {} || exit", quoted(&project::root().to_string_lossy()));
    match work {
        GuestWork::Command(words) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            let _ = writeln!(text, "exec {}", words.join(" "));
        }
        GuestWork::Shell => text.push_str("exec bash -i\n"),
    }
    text
}

/// The environment of every command in the guest: cargo uses what the host has downloaded, and
/// there is no network.
fn base_environment() -> Vec<(String, String)> {
    let home = env::home_dir().unwrap_or_default();
    let or_in_home = |variable: &str, directory: &str| {
        let path = env::var_os(variable).map_or_else(|| home.join(directory), PathBuf::from);
        (variable.to_owned(), path.to_string_lossy().into_owned())
    };
    let mut environment = vec![
        ("PATH".to_owned(), guest_path()),
        ("HOME".to_owned(), "/tmp/home".to_owned()),
        or_in_home("CARGO_HOME", ".cargo"),
        or_in_home("RUSTUP_HOME", ".rustup"),
        ("CARGO_NET_OFFLINE".to_owned(), "true".to_owned()),
        ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
    ];
    // Add the variables that change a build, and our own settings.
    environment.extend(settings::settings());
    environment
}

/// The project's programs, the directories of cargo and cargo-nextest, and the system's.
fn guest_path() -> String {
    let beside = |program: &str| {
        programs::on_path(program).and_then(|path| path.parent().map(Path::to_owned))
    };
    let mut directories = programs::project_directories().to_vec();
    directories.extend([beside("cargo"), beside("cargo-nextest")].into_iter().flatten());
    let system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    directories.extend(system.map(PathBuf::from));
    let directories: Vec<String> =
        directories.iter().map(|directory| directory.display().to_string()).collect();
    directories.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn words_survive_the_shell() {
        let words = ["printf", "%s\n", "it's", "$HOME `x` \"y\"", "", "two\nlines"];
        let work = GuestWork::Command(words.map(str::to_owned).to_vec());
        let environment = [("GREETING".to_owned(), "it's $me".to_owned())];
        let text = text(&work, &environment)
            .replace("exec 'printf'", "printf '%s\\n' \"$GREETING\"; exec printf");
        let output = Command::new("bash").args(["-c", &text]).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "it's $me\nit's\n$HOME `x` \"y\"\n\ntwo\nlines\n"
        );
    }

    #[test]
    fn the_guest_finds_the_hosts_cargo_and_stays_offline() {
        let environment = base_environment();
        let value = |name: &str| {
            environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        assert_eq!(value("CARGO_NET_OFFLINE").as_deref(), Some("true"));
        assert_ne!(value("CARGO_HOME"), None);
        let path = value("PATH").unwrap_or_default();
        let cargo = env::split_paths(&path).any(|directory| directory.join("cargo").is_file());
        assert!(cargo, "{path}");
    }
}
