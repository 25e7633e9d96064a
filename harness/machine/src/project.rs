//! The checkout and the directories in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::child::output;
use crate::failure::Failure;

/// Limit for `cargo metadata`, which may wait for the lock of a build.
const METADATA_LIMIT: Duration = Duration::from_secs(120);

/// The checkout, fixed when the harness is built, because `target/` holds only what was built from
/// it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/"))
}

/// Checks that this program lies in the checkout that it was built from. If a checkout is copied or
/// moved with its `target/`, cargo rebuilds nothing, and the programs and configuration of the old
/// place would be tested.
///
/// # Errors
/// If it lies in another checkout; the error says what to do.
pub fn is_where_it_was_built() -> Result<(), Failure> {
    match copied_to(&std::env::current_exe()?, root()) {
        None => Ok(()),
        Some(here) => Err(Failure::new(format!(
            "this program was built in {} and lies in {}, which was copied or moved; build it anew \
             there with: cargo clean && make build",
            root().display(),
            here.display()
        ))),
    }
}

/// The checkout in which `program` lies, if that is not `root`.
fn copied_to(program: &Path, root: &Path) -> Option<PathBuf> {
    let mut above = program.ancestors();
    let here = above.find(|directory| directory.join("harness/machine/Cargo.toml").is_file())?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    (real(here) != real(root)).then(|| here.to_owned())
}

/// The directory into which cargo builds the checkout: `target/`, unless the user's configuration
/// or environment names another one. cargo is asked only if this program lies elsewhere itself:
/// every trial is a process, and asking is slow in a guest.
pub fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own = root().join("target");
        let here = std::env::current_exe().ok().zip(own.canonicalize().ok());
        if here.is_some_and(|(program, own)| program.starts_with(own)) {
            return own;
        }
        cargo_target(root()).unwrap_or(own)
    })
}

/// Asks cargo where it builds the workspace in `directory`.
fn cargo_target(directory: &Path) -> Option<PathBuf> {
    let words = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let mut cargo = Command::new("cargo");
    let said = output(cargo.args(words).current_dir(directory), METADATA_LIMIT).ok()?;
    let metadata: serde_json::Value = serde_json::from_slice(&said.stdout).ok()?;
    metadata["target_directory"].as_str().map(PathBuf::from)
}

/// What `make setup` has fetched: the virtual environment, tools, kernels.
pub fn cache() -> PathBuf {
    root().join(".cache")
}

/// The interpreter of the project's virtual environment.
pub fn python() -> PathBuf {
    cache().join("venv/bin/python")
}

/// The virtual environment of the libraries that `make bench` compares VexFS with.
pub fn peers() -> PathBuf {
    cache().join("peers")
}

/// The recorded figures of other systems.
pub fn recorded_figures() -> PathBuf {
    root().join("fixtures/baselines/http-2025-05-31.json")
}

/// The results of `vexfs-validate run`: one directory each, and the link `latest`.
pub fn validation_runs() -> PathBuf {
    root().join("target/validation")
}

/// The running kernel's release, as `uname -r` prints it.
pub fn running_kernel() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Tests run from the directory into which cargo has built them, and so lie beside what it
    /// builds.
    #[test]
    fn what_is_built_is_beside_the_tests() {
        let test = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert!(test.starts_with(built().canonicalize().unwrap()), "{}", built().display());
    }

    #[test]
    fn a_copied_checkout_is_noticed() {
        let room = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| room.path().join(name));
        for checkout in [&old, &new] {
            fs::create_dir_all(checkout.join("harness/machine")).unwrap();
            fs::write(checkout.join("harness/machine/Cargo.toml"), "").unwrap();
        }
        let program = Path::new("target/debug/deps/fuse-1");
        assert_eq!(copied_to(&old.join(program), &old), None);
        assert_eq!(copied_to(&new.join(program), &old), Some(new.clone()));
        std::os::unix::fs::symlink(&old, room.path().join("link")).unwrap();
        assert_eq!(copied_to(&room.path().join("link").join(program), &old), None);
        fs::remove_dir_all(&old).unwrap();
        assert_eq!(copied_to(&new.join(program), &old), Some(new));
        assert_eq!(copied_to(Path::new("/elsewhere/target/fuse-1"), &old), None);
        is_where_it_was_built().unwrap();
    }

    /// Runs the set-up's own check of a virtual environment, from its script.
    #[test]
    fn a_moved_virtual_environment_is_not_reused() {
        let room = tempfile::tempdir().unwrap();
        let long = "l".repeat(200);
        for parent in ["short", &long] {
            let (old, new) =
                (room.path().join(parent).join("old"), room.path().join(parent).join("new"));
            let whole = |venv: &Path| {
                let script = root().join("fixtures/guest/setup/python.sh");
                let words = r#"CACHE=/nowhere; . "$1"; in_its_place "$2""#;
                let mut bash = Command::new("bash");
                let asked = bash.args(["-euc", words, "bash"]).arg(script).arg(venv).status();
                asked.unwrap().success()
            };
            assert!(!whole(&old), "there is none");
            let made = Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&old).status();
            assert!(made.unwrap().success());
            assert!(whole(&old));
            let link = room.path().join(format!("{}-link", &parent[..1]));
            std::os::unix::fs::symlink(&old, &link).unwrap();
            assert!(whole(&link), "its path may lead over a symbolic link");
            fs::rename(&old, &new).unwrap();
            assert!(!whole(&new), "moved");
            fs::rename(&new, &old).unwrap();
            assert!(whole(&old));
        }
    }

    #[test]
    fn the_target_directory_of_cargos_configuration_is_found() {
        let package = crate::temporary::room().unwrap();
        let at = |name: &str| package.path().join(name);
        let manifest = "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        fs::write(at("Cargo.toml"), manifest).unwrap();
        fs::create_dir(at("src")).unwrap();
        fs::write(at("src/lib.rs"), "").unwrap();
        fs::create_dir(at(".cargo")).unwrap();
        let elsewhere = "[build]\ntarget-dir = \"/somewhere/else\"\n";
        fs::write(at(".cargo/config.toml"), elsewhere).unwrap();
        let told = cargo_target(package.path()).unwrap();
        // The environment variable takes precedence.
        let expected = std::env::var_os("CARGO_TARGET_DIR");
        assert_eq!(told, expected.map_or("/somewhere/else".into(), |dir| package.path().join(dir)));
        assert_eq!(cargo_target(Path::new("/nonexistent")), None);
    }
}
