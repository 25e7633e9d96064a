//! The programs under test: this checkout's release builds and its module, or a user's own.

use std::path::PathBuf;
use std::process::Command;

use crate::child::Running;
use crate::failure::Failure;
use crate::interrupt::interrupted;
use crate::{config, own_sources, project, require};

/// A program under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The FUSE daemon, unless a user's own takes its place.
    FuseDaemon,
    /// The command-line tool.
    Vexctl,
    /// The benchmark, unless a user's own takes its place.
    Benchmark,
}

impl Program {
    /// Human-readable name.
    pub fn title(self) -> &'static str {
        match self {
            Program::FuseDaemon => "the FUSE daemon",
            Program::Vexctl => "vexctl",
            Program::Benchmark => "the benchmark",
        }
    }

    /// Its path after it has been built.
    ///
    /// # Errors
    /// If `vexfs.toml`, which may name another program, is refused.
    pub fn path(self) -> Result<PathBuf, Failure> {
        match self {
            Program::FuseDaemon => fuse_daemon(),
            Program::Vexctl => Ok(project::built().join("release/vexctl")),
            Program::Benchmark => Ok(match &config::current()?.benchmark {
                Some(own) => own.program.clone(),
                None => project::built().join("release/anns_benchmark_test"),
            }),
        }
    }

    fn package(self) -> &'static str {
        match self {
            Program::FuseDaemon => "vexfs-fuse",
            Program::Vexctl => "vexctl",
            Program::Benchmark => "vexfs-bench",
        }
    }

    /// The command that builds it.
    pub fn build_command(self) -> String {
        format!("cargo build --release -p {}", self.package())
    }

    /// Its path. Builds the program if it does not exist yet, and always builds a user's own
    /// sources.
    ///
    /// # Errors
    /// If cargo cannot build it, or as [`Program::path`].
    pub fn build_if_missing(self) -> Result<PathBuf, Failure> {
        if let (Program::FuseDaemon, Some(own)) = (self, &config::current()?.fuse)
            && own.program.is_dir()
        {
            return own_sources::build_fuse(&own.program);
        }
        let program = self.path()?;
        if program.is_file() {
            return Ok(program);
        }
        let mut cargo = Command::new("cargo");
        cargo.current_dir(project::root());
        cargo.args(["build", "--release", "--locked", "-p", self.package()]);
        let built = Running::start(&mut cargo)?.until(interrupted).finish(own_sources::LIMIT)?;
        require!(
            built.status.success() && program.is_file(),
            "{} is not there and cannot be built; build it with: {}\n{}",
            program.display(),
            self.build_command(),
            built.tail()
        );
        Ok(program)
    }
}

/// The FUSE daemon under test.
///
/// # Errors
/// If `vexfs.toml` is refused.
pub fn fuse_daemon() -> Result<PathBuf, Failure> {
    Ok(match &config::current()?.fuse {
        Some(own) if own.program.is_dir() => own_sources::fuse_product(),
        Some(own) => own.program.clone(),
        None => project::built().join("release/vexfs_fuse"),
    })
}

/// The module under test, built for kernel `release`.
///
/// # Errors
/// If `vexfs.toml` is refused.
pub fn kernel_module(release: &str) -> Result<PathBuf, Failure> {
    Ok(match &config::current()?.module {
        Some(own) if own.path.is_dir() => own_sources::module_product(release),
        Some(own) => own.path.clone(),
        None => project::root().join("target/vexfs-ko").join(release).join("vexfs.ko"),
    })
}

/// The module's test build for kernel `release`, whose allocations can be made to fail.
pub fn fault_injection_module(release: &str) -> PathBuf {
    project::root().join("target/vexfs-ko").join(release).join("fault-injection/vexfs.ko")
}
