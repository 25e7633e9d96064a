//! What a trial needs from the machine, and what provides it.

use evidence::competitor::Competitor;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use guest::VmError;
use homes::is_own;
use homes::kernel::ModuleFile;
use machine::failure::Failure;
use machine::programs::on_path;
use machine::under_test::{self, Program};
use machine::{config, project};
use vexfs_uapi::Home;

/// Something that a trial needs. It is declared, never coded into the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// Effective user id 0: mounting directly, loading modules.
    Root,
    /// `/dev/fuse`, open for reading and writing.
    DevFuse,
    /// `fusermount3` in PATH.
    Fusermount,
    /// The FUSE daemon under test; built on demand if cargo is installed.
    FuseDaemon,
    /// `vexctl`; built on demand if cargo is installed.
    Vexctl,
    /// The benchmark whose claims are checked; ours is built on demand if cargo is installed.
    Benchmark,
    /// A kernel that loads modules.
    ModuleLoading,
    /// `vexfs.ko`, built for the running kernel.
    Module,
    /// `vexfs.ko` for the running kernel, built with `build.sh --fault-injection`.
    FaultInjectionModule,
    /// A competitor's driver and its Python packages: `chromadb` or `qdrant`.
    Competitor(Competitor),
    /// numpy in the project's virtual environment.
    Numpy,
    /// A program, by its name, that the set-up installs into `.cache/tools` or as a package.
    Program(&'static str),
    /// What it takes to boot a guest: QEMU, virtme-ng and the guest's kernel with the module built
    /// for it.
    BootableGuest,
    /// A CPU whose SIMD gives the same results as scalar code; some emulators fail at that.
    SoundCpu,
}

/// A requirement that is not met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// The command that provides it, or another remedy.
    pub remedy: String,
}

impl From<VmError> for Missing {
    /// The launcher's messages end with the remedy, after a semicolon.
    fn from(error: VmError) -> Self {
        let words = error.to_string();
        let (what, remedy) =
            words.rsplit_once("; ").unwrap_or((&words, "provide it with: make setup"));
        Missing { what: what.to_owned(), remedy: remedy.to_owned() }
    }
}

fn missing(what: impl Into<String>, remedy: impl Into<String>) -> Result<(), Missing> {
    Err(Missing { what: what.into(), remedy: remedy.into() })
}

impl Requirement {
    /// Its name in messages.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Requirement::Root => "root".into(),
            Requirement::DevFuse => "/dev/fuse".into(),
            Requirement::Fusermount => "fusermount3".into(),
            Requirement::FuseDaemon => Program::FuseDaemon.title().into(),
            Requirement::Vexctl => Program::Vexctl.title().into(),
            Requirement::Benchmark => "the benchmark whose claims are checked".into(),
            Requirement::ModuleLoading => "loading of modules".into(),
            Requirement::Module => "vexfs.ko".into(),
            Requirement::FaultInjectionModule => "vexfs.ko with fault injection".into(),
            Requirement::Numpy => "numpy".into(),
            Requirement::Competitor(competitor) => competitor.id().into(),
            Requirement::Program(name) => name.into(),
            Requirement::BootableGuest => "a guest that can be booted".into(),
            Requirement::SoundCpu => "a CPU that computes SIMD rightly".into(),
        }
    }

    /// Checks whether this machine meets the requirement.
    ///
    /// # Errors
    /// [`Missing`], with the command that provides it.
    pub fn check(self) -> Result<(), Missing> {
        match self {
            Requirement::Root if nix::unistd::geteuid().is_root() => Ok(()),
            Requirement::Root => missing("not root", "run it with sudo"),
            Requirement::DevFuse => dev_fuse(Path::new("/dev/fuse")),
            Requirement::Fusermount if on_path("fusermount3").is_some() => Ok(()),
            Requirement::Fusermount => {
                missing("fusermount3 is not on the path", "provide it with: make setup")
            }
            Requirement::FuseDaemon => program(Program::FuseDaemon),
            Requirement::Vexctl => program(Program::Vexctl),
            Requirement::Benchmark if configured_benchmark()? => Ok(()),
            Requirement::Benchmark => program(Program::Benchmark),
            Requirement::ModuleLoading if Path::new("/proc/modules").exists() => Ok(()),
            Requirement::ModuleLoading => missing(
                "this kernel loads no modules (no /proc/modules)",
                "boot the guest on a modular kernel: vexfs-validate guest",
            ),
            Requirement::Module => module(&project::running_kernel()),
            // The reference's test build says nothing about another module: its trial is undecided.
            Requirement::FaultInjectionModule if configured(is_own(Home::Kernel))? => Ok(()),
            Requirement::FaultInjectionModule => {
                let release = project::running_kernel();
                file(
                    &under_test::fault_injection_module(&release),
                    &format!("vexfs.ko with fault injection for kernel {release}"),
                    &format!("fixtures/vexfs/kernel/build.sh --kernel {release} --fault-injection"),
                )
            }
            Requirement::Competitor(one) => competitor(one),
            Requirement::Numpy => package("numpy", "numpy"),
            Requirement::Program(name) if on_path(name).is_some() => Ok(()),
            Requirement::Program(name) => {
                missing(format!("there is no program {name}"), "provide it with: make setup")
            }
            Requirement::BootableGuest => bootable_guest(),
            Requirement::SoundCpu => {
                let report = machine::selftest::run();
                if report.passed() {
                    return Ok(());
                }
                missing(
                    format!("this CPU computes AVX2 wrongly ({})", report.summary()),
                    "an emulated guest needs QEMU 10 or newer: make setup",
                )
            }
        }
    }
}

fn dev_fuse(path: &Path) -> Result<(), Missing> {
    match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) => missing(
            format!("{} cannot be opened ({error})", path.display()),
            "load FUSE with: modprobe fuse, and in a container pass --device /dev/fuse",
        ),
    }
}

/// The program is built from this checkout when it is needed, so it is missing only on a machine
/// that has neither it nor cargo.
fn program(program: Program) -> Result<(), Missing> {
    let path = configured(program.path())?;
    if path.exists() || on_path("cargo").is_some() {
        return Ok(());
    }
    file(&path, program.title(), &program.build_command())
}

/// Whether `vexfs.toml` names a benchmark; the file is refused if the benchmark does not exist.
fn configured_benchmark() -> Result<bool, Missing> {
    configured(config::current().map(|config| config.benchmark.is_some()))
}

/// Turns a failure to read `vexfs.toml` into a missing requirement.
fn configured<T>(decided: Result<T, Failure>) -> Result<T, Missing> {
    decided.map_err(|failure| Missing {
        what: failure.to_string(),
        remedy: "docs/own-vexfs.md says what the file may say".into(),
    })
}

fn own_module_sources() -> Result<bool, Failure> {
    Ok(config::current()?.module.as_ref().is_some_and(|module| module.path.is_dir()))
}

fn module(release: &str) -> Result<(), Missing> {
    let build = if configured(own_module_sources())? {
        "vexfs-validate guest (the host builds it before it boots)".to_owned()
    } else {
        format!("fixtures/vexfs/kernel/build.sh --kernel {release}")
    };
    let path = configured(under_test::kernel_module(release))?;
    file(&path, &format!("vexfs.ko for kernel {release}"), &build)?;
    own_is_of_use(&path, release)
}

/// Checks that a module other than the reference can be loaded by the kernel `release` at all. The
/// file is read once per process.
pub(crate) fn own_is_of_use(path: &Path, release: &str) -> Result<(), Missing> {
    static TOLD: OnceLock<Result<(), Missing>> = OnceLock::new();
    if !configured(is_own(Home::Kernel))? {
        return Ok(());
    }
    TOLD.get_or_init(|| {
        let told = ModuleFile::read(path).and_then(|module| module.must_be_of_use(release));
        told.map_err(|failure| {
            let words = failure.to_string();
            let (what, remedy) =
                words.rsplit_once("; ").unwrap_or((&words, "name a module's file"));
            Missing { what: what.to_owned(), remedy: remedy.to_owned() }
        })
    })
    .clone()
}

fn bootable_guest() -> Result<(), Missing> {
    match guest::Host::of_environment() {
        // The module is built before the guest boots.
        Ok(_) if configured(own_module_sources())? => Ok(()),
        Ok(host) => module(&host.kernel.release),
        Err(error) => Err(error.into()),
    }
}

fn competitor(competitor: Competitor) -> Result<(), Missing> {
    let name = competitor.library_driver();
    let driver = project::root().join("fixtures/competitors").join(name).join("driver.py");
    file(&driver, &format!("the driver of {name}"), "git restore fixtures/competitors")?;
    package(competitor.python_package(), name)
}

/// Looks for the package's directory instead of importing it: an import takes 20 s in an
/// emulated guest, and trials are listed often.
fn package(module: &str, name: &str) -> Result<(), Missing> {
    let remedy = "provide it with: make setup";
    file(&project::python(), "the project's virtual environment", remedy)?;
    let libraries = project::cache().join("venv/lib");
    let present = fs::read_dir(&libraries)
        .into_iter()
        .flatten()
        .flatten()
        .any(|version| version.path().join("site-packages").join(module).is_dir());
    if present {
        return Ok(());
    }
    missing(format!("{name} is not installed in {}", libraries.display()), remedy)
}

fn file(path: &Path, what: &str, command: &str) -> Result<(), Missing> {
    if path.is_file() {
        return Ok(());
    }
    missing(
        format!("{what} is not there ({})", path.display()),
        format!("provide it with: {}", command.trim_start_matches("provide it with: ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_names_its_remedy() {
        let Err(missing) = file(Path::new("/nonexistent/vexfs.ko"), "vexfs.ko", "make build")
        else {
            panic!("there is no such file");
        };
        assert_eq!(
            missing.to_string(),
            "vexfs.ko is not there (/nonexistent/vexfs.ko); provide it with: make build"
        );
    }

    #[test]
    fn a_machine_without_fuse_gets_a_remedy() {
        let Err(missing) = dev_fuse(Path::new("/nonexistent/fuse")) else {
            panic!("there is no such device");
        };
        assert!(missing.to_string().starts_with("/nonexistent/fuse cannot be opened"));
        assert!(missing.to_string().contains("modprobe fuse"));
    }
}
