//! Examines what the suite can use on this machine, and which command provides what is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use evidence::competitor::Competitor;
use evidence::guest::{Accelerator, DEFAULT_SERIES};
use evidence::place::Place;
use evidence::series;
use guest::{self, Kernel, KernelChoice};
use machine::child::output;
use machine::failure::Failure;
use machine::place;
use machine::programs;
use machine::project;
use machine::under_test::{self, Program};

use crate::requirement::{Missing, Requirement, own_is_of_use};

/// Limit for a program that tells its version, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// The programs that `fixtures/vexfs/kernel/build.sh` needs besides its compiler, with their Debian
/// packages.
const BUILDERS: [(&str, &str); 5] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("objdump", "binutils"),
    ("nm", "binutils"),
    ("flock", "util-linux"),
];

/// The condition of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It works; with details.
    Works(String),
    /// A validation runs without it; with the consequence and the remedy.
    Limited(Missing),
    /// A validation needs it, and it is missing.
    Missing(Missing),
}

/// One thing that was examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Its name.
    pub what: String,
    /// Its condition.
    pub condition: Condition,
}

/// A heading, and the things examined under it.
pub type Group = (&'static str, Vec<Examined>);

/// Examines this machine. To tell whether KVM works, a kernel is booted on it once.
#[must_use]
pub fn examine() -> Vec<Group> {
    let mut groups = vec![
        ("what runs the trials", vec![program("cargo", "make setup"), nextest("cargo")]),
        (
            "FUSE and the file-system tests",
            // Trials that need root run in the guest, where everybody is root.
            required(&[
                Requirement::DevFuse,
                Requirement::Fusermount,
                Requirement::Program("pjdfstest"),
                Requirement::Program("fsx"),
                Requirement::Program("fio"),
                Requirement::Program("stress-ng"),
                Requirement::SoundCpu,
            ]),
        ),
        (
            "programs under test",
            // Or the programs named in vexfs.toml.
            [Program::FuseDaemon, Program::Vexctl, Program::Benchmark]
                .map(|one| built(one.title(), one.path(), &one.build_command(), cargo()))
                .into(),
        ),
        (
            "data and competitors",
            required(&[
                Requirement::Numpy,
                Requirement::Competitor(Competitor::Chromadb),
                Requirement::Competitor(Competitor::Qdrant),
            ]),
        ),
    ];
    match place::here().place {
        Place::Host => {
            groups.extend([("what builds the module", builders()), ("the guest", guest())])
        }
        Place::Guest => groups.push((
            "the kernel module",
            required(&[
                Requirement::ModuleLoading,
                Requirement::Module,
                Requirement::FaultInjectionModule,
            ]),
        )),
    }
    groups
}

/// Whether nothing is missing that a validation needs.
#[must_use]
pub fn is_fit(groups: &[Group]) -> bool {
    let mut all = groups.iter().flat_map(|(_, examined)| examined);
    !all.any(|one| matches!(one.condition, Condition::Missing(_)))
}

fn required(requirements: &[Requirement]) -> Vec<Examined> {
    requirements
        .iter()
        .map(|one| needed(&one.title(), one.check().map(|()| String::new())))
        .collect()
}

fn needed(what: &str, found: Result<String, impl Into<Missing>>) -> Examined {
    let condition = found.map_or_else(|why| Condition::Missing(why.into()), Condition::Works);
    Examined { what: what.to_owned(), condition }
}

/// Whether cargo is installed, which builds programs that are not built yet.
fn cargo() -> bool {
    programs::on_path("cargo").is_some()
}

fn program(name: &str, command: &str) -> Examined {
    let found = programs::on_path(name).map(|path| path.display().to_string());
    needed(
        name,
        found.ok_or_else(|| Missing {
            what: format!("there is no program {name}"),
            remedy: format!("provide it with: {command}"),
        }),
    )
}

/// A program under test. If it is not built yet, trials build it with cargo; without cargo it is
/// missing.
fn built(what: &str, path: Result<PathBuf, Failure>, command: &str, cargo: bool) -> Examined {
    let condition = match path {
        Ok(path) if path.exists() => Condition::Works(path.display().to_string()),
        Ok(path) => {
            let missing = Missing {
                what: format!("it is not built ({})", path.display()),
                remedy: format!("provide it with: {command}"),
            };
            if cargo { Condition::Limited(missing) } else { Condition::Missing(missing) }
        }
        Err(failure) => Condition::Missing(Missing {
            what: failure.to_string(),
            remedy: "docs/own-vexfs.md says what vexfs.toml may say".into(),
        }),
    };
    Examined { what: what.to_owned(), condition }
}

/// Asks cargo itself, as a run does: the copy of the set-up is found only if its directory is in
/// PATH.
fn nextest(cargo: &str) -> Examined {
    let said = output(Command::new(cargo).args(["nextest", "--version"]), LIMIT);
    let version = said.ok().filter(|said| said.status.success()).map(|said| {
        String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned()
    });
    let directory = programs::on_path("cargo-nextest");
    let directory = directory.as_deref().and_then(Path::parent).map(|path| path.display());
    let found = version.ok_or_else(|| match directory {
        Some(directory) => Missing {
            what: format!("cargo does not find it, though it is in {directory}"),
            remedy: format!("make does; or: export PATH={directory}:$PATH"),
        },
        None => Missing {
            what: "there is no program cargo-nextest".into(),
            remedy: "provide it with: make setup".into(),
        },
    });
    needed("cargo-nextest", found)
}

fn builders() -> Vec<Examined> {
    let tools =
        BUILDERS.map(|(name, package)| program(name, &format!("apt-get install {package}")));
    let script = project::root().join("fixtures/vexfs/kernel/build.sh");
    tools.into_iter().chain([module_rust(&mut Command::new(script))]).collect()
}

/// The compiler for the module's Rust code and the source of its standard library, as the build
/// script chooses them.
fn module_rust(build_script: &mut Command) -> Examined {
    let said = output(build_script.arg("--compiler"), LIMIT);
    let found = match said {
        Ok(said) if said.status.success() => {
            Ok(String::from_utf8_lossy(&said.stdout).lines().collect::<Vec<_>>().join(", source: "))
        }
        // The script prints a line for each compiler that it tried, what that means, and last the
        // remedy.
        Ok(said) => {
            let words = String::from_utf8_lossy(&said.stderr).replace("build.sh: ", "");
            let mut lines: Vec<&str> = words.lines().collect();
            let remedy = lines.pop().unwrap_or("see docs/kernel-module.md").to_owned();
            Err(Missing { what: lines.join("; "), remedy })
        }
        Err(error) => Err(Missing {
            what: format!("{} does not run: {error}", build_script.get_program().display()),
            remedy: "check out the whole repository".into(),
        }),
    };
    needed("Rust for the module", found)
}

fn guest() -> Vec<Examined> {
    let qemu = guest::find_qemu().map(|qemu| format!("{} ({})", qemu.version, qemu.path.display()));
    let virtme = guest::launcher().map(|path| path.display().to_string());
    let mut examined = vec![needed("QEMU", qemu), needed("virtme-ng", virtme), virtiofsd()];
    examined.extend(kernel(DEFAULT_SERIES));
    for other in series::matrix().into_iter().filter(|one| one.name != DEFAULT_SERIES) {
        examined.extend(kernel(&other.name).into_iter().map(of_another_kernel));
    }
    examined.push(accelerator());
    examined
}

/// If something is missing for a kernel of the matrix other than the default, only that kernel
/// cannot be validated.
fn of_another_kernel(one: Examined) -> Examined {
    match one.condition {
        Condition::Missing(why) => Examined {
            condition: Condition::Limited(Missing {
                what: format!("{}, so it cannot be validated", why.what),
                ..why
            }),
            ..one
        },
        _ => one,
    }
}

/// Where Debian 13 and other distributions install virtiofsd. virtme-ng looks there, too.
const VIRTIOFSD: &str = "/usr/libexec/virtiofsd";

fn virtiofsd_at(on_path: Option<PathBuf>, elsewhere: &Path) -> Option<PathBuf> {
    on_path.or_else(|| elsewhere.is_file().then(|| elsewhere.to_owned()))
}

fn virtiofsd() -> Examined {
    let found = virtiofsd_at(programs::on_path("virtiofsd"), Path::new(VIRTIOFSD));
    let condition = found.map_or_else(
        || {
            Condition::Limited(Missing {
                what: "no virtiofsd: the guest's files come over 9p, three times slower".into(),
                remedy: "provide it with: make setup".into(),
            })
        },
        |path| Condition::Works(path.display().to_string()),
    );
    Examined { what: "virtiofsd".into(), condition }
}

/// A kernel to boot, and VexFS built for it.
fn kernel(series: &str) -> Vec<Examined> {
    let choice = KernelChoice::Version(series.to_owned());
    let kernel = match Kernel::find(&choice) {
        Ok(kernel) => kernel,
        Err(why) => return vec![needed(&format!("kernel {series}"), Err(why))],
    };
    let release = &kernel.release;
    let built = |module: Result<std::path::PathBuf, Failure>, option: &str| match module {
        Ok(path) if path.is_file() => {
            if option.is_empty() {
                own_is_of_use(&path, release)?;
            }
            Ok(path.display().to_string())
        }
        Ok(path) => Err(Missing {
            what: format!("it is not built ({})", path.display()),
            remedy: format!(
                "provide it with: fixtures/vexfs/kernel/build.sh --kernel {release}{option}"
            ),
        }),
        Err(failure) => Err(Missing {
            what: failure.to_string(),
            remedy: "docs/own-vexfs.md says what vexfs.toml may say".into(),
        }),
    };
    vec![
        needed(
            &format!("kernel {series}"),
            Ok::<_, Missing>(format!("{release} ({})", kernel.image.display())),
        ),
        needed(
            &format!("headers of {release}"),
            kernel.headers().map(|path| path.display().to_string()),
        ),
        needed(&format!("vexfs.ko for {release}"), built(under_test::kernel_module(release), "")),
        needed(
            &format!("vexfs.ko with fault injection for {release}"),
            built(Ok(under_test::fault_injection_module(release)), " --fault-injection"),
        ),
    ]
}

fn accelerator() -> Examined {
    let condition = match guest::accelerator_here() {
        Ok((Accelerator::Kvm, why)) => Condition::Works(format!("KVM: {why}")),
        Ok((Accelerator::Tcg, why)) => Condition::Limited(Missing {
            what: format!(
                "the guest's CPU is emulated (TCG), and bare metal stays NOT ELIGIBLE: {why}"
            ),
            remedy: if guest::kvm_is_closed() {
                "join the group of /dev/kvm (sudo usermod --append --groups kvm $USER) and log in again".into()
            } else {
                "for a verdict on speed use a machine where KVM boots the kernel".into()
            },
        }),
        Err(why) => Condition::Missing(why.into()),
    };
    Examined { what: "accelerator".into(), condition }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_makes_a_machine_unfit_and_what_is_limited_does_not() {
        let missing = Missing { what: "x is not there".into(), remedy: "make setup".into() };
        let of = |condition| vec![("group", vec![Examined { what: "x".into(), condition }])];
        assert!(is_fit(&of(Condition::Works(String::new()))));
        assert!(is_fit(&of(Condition::Limited(missing.clone()))));
        assert!(!is_fit(&of(Condition::Missing(missing))));
    }

    #[test]
    fn a_kernel_that_is_not_there_is_missing_with_its_remedy() {
        let examined = kernel("0.99");
        let [Examined { condition: Condition::Missing(missing), .. }] = &examined[..] else {
            panic!("{examined:?}");
        };
        assert_eq!(missing.remedy, "provide it with: make setup KERNEL=0.99");
    }

    #[test]
    fn a_program_that_runs_or_builds_trials_is_missing_with_its_remedy() {
        assert!(matches!(program("sh", "make setup").condition, Condition::Works(_)));
        let Condition::Missing(missing) = program("no-such-builder", "make setup").condition else {
            panic!("there is no such program");
        };
        assert_eq!(
            missing.to_string(),
            "there is no program no-such-builder; provide it with: make setup"
        );
    }

    #[test]
    fn a_cargo_without_nextest_runs_no_trial() {
        // Stand-ins for cargo: true(1) succeeds without output, false(1) fails.
        assert!(matches!(nextest("true").condition, Condition::Works(_)));
        assert!(matches!(nextest("false").condition, Condition::Missing(_)));
        assert!(matches!(nextest("/nonexistent/cargo").condition, Condition::Missing(_)));
    }

    #[test]
    fn a_program_under_test_that_is_not_built_is_no_program() {
        let condition = |path: &str, cargo| {
            built("vexctl", Ok(path.into()), "cargo build -p vexctl", cargo).condition
        };
        assert!(matches!(condition("/bin/sh", false), Condition::Works(_)));
        let missing = Missing {
            what: "it is not built (/nonexistent/vexctl)".into(),
            remedy: "provide it with: cargo build -p vexctl".into(),
        };
        let path = "/nonexistent/vexctl";
        assert_eq!(condition(path, true), Condition::Limited(missing.clone()));
        assert_eq!(condition(path, false), Condition::Missing(missing));
    }

    #[test]
    fn the_build_script_says_what_the_modules_rust_is_or_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).unwrap();
            path
        };
        let works = script("works", "printf '%s\\n' /usr/bin/rustc /usr/src/rustc/library");
        let found = module_rust(&mut Command::new(works)).condition;
        let words = "/usr/bin/rustc, source: /usr/src/rustc/library";
        assert_eq!(found, Condition::Works(words.to_owned()));

        // The real script, told of a compiler that does not exist.
        let real = project::root().join("fixtures/vexfs/kernel/build.sh");
        let mut none = Command::new(&real);
        none.env("RUSTC", "/nonexistent/rustc");
        let Condition::Missing(missing) = module_rust(&mut none).condition else {
            panic!("there is no such compiler");
        };
        assert!(
            missing.what.starts_with("/nonexistent/rustc: no Rust compiler is there; "),
            "{missing}"
        );
        assert!(missing.remedy.contains("apt-get install rustc-web rust-web-src"), "{missing}");

        // Compilers without the source, with the source of another version, and too old.
        let rust = |version: &str| {
            let name = format!("rustc-{version}");
            script(
                &name,
                &format!(
                    "case \"$*\" in --version) echo rustc {version};; *sysroot) echo {};; esac",
                    dir.path().display()
                ),
            )
        };
        let source = |version: &str| {
            let library = dir.path().join(format!("src/rustc-{version}/library"));
            std::fs::create_dir_all(library.join("core/src")).unwrap();
            std::fs::write(library.join("core/src/lib.rs"), "").unwrap();
            library
        };
        let lacks = |rustc: &Path, library: Option<&Path>| {
            let mut command = Command::new(&real);
            command.env("RUSTC", rustc);
            if let Some(library) = library {
                command.env("LIBRARY", library);
            }
            match module_rust(&mut command).condition {
                Condition::Missing(missing) => missing.what,
                other => format!("{other:?}"),
            }
        };
        let new = rust("9.9.0");
        assert!(lacks(&new, None).contains("there is no source of its standard library"));
        assert!(lacks(&new, Some(&source("9.8.0"))).contains("it is 9.9.0, and the source"));
        assert!(lacks(&new, Some(&source("9.9.0"))).starts_with("Works"));
        assert!(lacks(&rust("1.85.0"), Some(&source("1.85.0"))).contains("older than"));
    }

    #[test]
    fn virtiofsd_is_found_where_debian_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("virtiofsd");
        assert_eq!(virtiofsd_at(None, &elsewhere), None);
        std::fs::write(&elsewhere, "").unwrap();
        assert_eq!(virtiofsd_at(None, &elsewhere), Some(elsewhere.clone()));
        assert_eq!(virtiofsd_at(Some("/x".into()), &elsewhere), Some("/x".into()));
    }
}
