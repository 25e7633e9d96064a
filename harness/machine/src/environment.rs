//! Collects the environment of this machine for the evidence.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use evidence::Environment;
use evidence::environment::OWN_MODULE_SOURCES;
use evidence::guest::GuestLaunch;
use evidence::place::Place;
use evidence::processor::Processor;

use crate::child::output;
use crate::failure::Failure;
use crate::settings::settings;
use crate::{config, own_sources, place, programs, project, under_test};

/// Limit for a program that tells its version, or git its commit, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The environment of this machine.
pub fn of_this_machine(accelerator: Processor) -> Environment {
    let here = place::here();
    let launch = match here.place {
        Place::Host => None,
        Place::Guest => here.evidence_dir.as_ref().and_then(|dir| GuestLaunch::read(dir).ok()),
    };
    let release = project::running_kernel();
    let programs = [
        ("vexfs_fuse", under_test::fuse_daemon()),
        ("vexfs.ko", under_test::kernel_module(&release)),
        ("vexfs-validate", std::env::current_exe().map_err(Failure::from)),
    ];
    Environment {
        place_reason: here.reason.clone(),
        place_marks: here.marks.clone(),
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_default(),
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        memory_kib: field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
            .unwrap_or(0),
        accelerator,
        commit: commit(),
        programs: programs
            .into_iter()
            .map(|(name, path)| (name.to_owned(), path.map_or_else(not_told, file_hash)))
            .chain(own_module_sources().map(|hash| (OWN_MODULE_SOURCES.to_owned(), hash)))
            .collect(),
        versions: versions(&release),
        kernel_release: release,
        clock: launch.as_ref().map(|launch| launch.clock),
        detectors: launch.map(|launch| launch.detectors).unwrap_or_default(),
        // The evidence directory does not affect any result. VEXFS_KERNEL matters to trials on the
        // host that boot a guest.
        variables: settings()
            .filter(|(name, _)| name != place::DIR_VARIABLE)
            .chain(
                std::env::var("VEXFS_KERNEL")
                    .ok()
                    .map(|kernel| ("VEXFS_KERNEL".to_owned(), kernel)),
            )
            .collect(),
    }
}

/// SHA-256 of the sources of somebody's own module; `None` if the reference is under test.
fn own_module_sources() -> Option<String> {
    let own = config::current().ok()?.module.as_ref()?;
    let hash = match own.path.is_dir() {
        true => own_sources::module_sources_hash(&own.path),
        false => Err(Failure::new("it is given as a built file")),
    };
    Some(hash.unwrap_or_else(not_told))
}

/// The value of the first `key : value` line.
fn field(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

fn not_told(why: Failure) -> String {
    format!("missing ({why})")
}

/// SHA-256 of the file at `path`, or `missing`.
pub fn file_hash(path: PathBuf) -> String {
    fs::read(path).map_or_else(|_| "missing".to_owned(), |bytes| evidence::digest::sha256(&bytes))
}

/// `HEAD` of the checkout. Evidence is useful without it, so it is no error if git is missing.
pub fn commit() -> String {
    commit_of(project::root())
}

fn commit_of(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-c").arg(format!("safe.directory={}", root.display()));
        git.arg("-C").arg(root).args(arguments);
        let output = output(&mut git, LIMIT).ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // An archive may be unpacked inside somebody's repository, whose HEAD does not contain it.
    let Some(named) = git(&["rev-parse", "HEAD", "HEAD:./Cargo.toml"]) else {
        return "unknown".to_owned();
    };
    let head = named.lines().next().unwrap_or_default().to_owned();
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => head,
        _ => format!("{head}-dirty"),
    }
}

fn versions(kernel_release: &str) -> BTreeMap<String, String> {
    let mut versions = python_packages(&project::cache().join("venv/lib"));
    versions.insert("harness".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    versions.insert("kernel".to_owned(), kernel_release.to_owned());
    // The guest uses the host's programs, and running them takes seconds on an emulated CPU.
    if place::here().place == Place::Host {
        versions.extend(tools().clone());
    }
    versions
}

/// The packages in a virtual environment's `lib`, read from the names `NAME-VERSION.dist-info`
/// without starting an interpreter.
fn python_packages(lib: &Path) -> BTreeMap<String, String> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let sites = entries(lib).map(|version| version.path().join("site-packages"));
    let names = sites.flat_map(|site| entries(&site).map(|entry| entry.file_name()));
    names
        .filter_map(|name| {
            let (name, version) = name.to_str()?.strip_suffix(".dist-info")?.rsplit_once('-')?;
            // Use the spelling of requirements.txt, which has hyphens in names.
            let name = name.replace('_', "-").to_lowercase();
            Some((format!("python:{name}"), version.to_owned()))
        })
        .collect()
}

/// Versions of the programs that build and run the suite, looked up once.
fn tools() -> &'static BTreeMap<String, String> {
    static TOOLS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let asked: [(&str, &[&str]); 2] =
            [("rustc", &["--version"]), ("cargo-nextest", &["nextest", "--version"])];
        let said = asked.iter().filter_map(|(name, arguments)| {
            let mut program = Command::new(programs::on_path(name)?);
            let output = output(program.args(*arguments), LIMIT).ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Some(((*name).to_owned(), version_in(&text)?.to_owned()))
        });
        let qemu = programs::qemu().and_then(|path| {
            let output = output(Command::new(path).arg("--version"), LIMIT).ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Some(("QEMU".to_owned(), version_in(&text)?.to_owned()))
        });
        said.chain(qemu).collect()
    })
}

/// The first word that begins with a digit: `1.95.0` in `rustc 1.95.0 (… 2026-01-01)`.
fn version_in(said: &str) -> Option<&str> {
    said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_versions_are_reported_and_not_requested_ones() {
        let lib = tempfile::tempdir().unwrap();
        let site = lib.path().join("python3.11/site-packages");
        for name in ["numpy", "numpy-2.1.3.dist-info", "virtme_ng-1.36.dist-info", "_x.pth"] {
            fs::create_dir_all(site.join(name)).unwrap();
        }
        let told: Vec<_> = python_packages(lib.path()).into_iter().collect();
        let named = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(told, [named("python:numpy", "2.1.3"), named("python:virtme-ng", "1.36")]);
        assert!(python_packages(Path::new("/nonexistent")).is_empty());
    }

    #[test]
    fn the_commit_is_that_of_the_checkout_and_not_of_a_repository_around_it() {
        let around = tempfile::tempdir().unwrap();
        let git = |words: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=x", "-c", "user.email=x@example.org", "-C"]);
            let said = git.arg(around.path()).args(words).output().unwrap();
            assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
        };
        let checkout = around.path().join("unpacked");
        let manifest = checkout.join("Cargo.toml");
        fs::create_dir(&checkout).unwrap();
        fs::write(&manifest, "").unwrap();
        assert_eq!(commit_of(&checkout), "unknown");
        git(&["init", "--quiet"]);
        git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
        assert_eq!(commit_of(&checkout), "unknown");

        git(&["add", "unpacked"]);
        git(&["commit", "--quiet", "--message=y"]);
        let head = commit_of(&checkout);
        assert!(head.len() >= 40 && !head.contains('-'), "{head}");
        fs::write(&manifest, "changed").unwrap();
        assert_eq!(commit_of(&checkout), format!("{head}-dirty"));
    }

    #[test]
    fn a_program_says_its_version() {
        assert_eq!(version_in("rustc 1.95.0 (abc 2026-01-01)\n"), Some("1.95.0"));
        assert_eq!(version_in("cargo-nextest 0.9.143 (def)\n"), Some("0.9.143"));
        assert_eq!(version_in("no version here"), None);
    }
}
