//! Where the checkout's own things are.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::{config, sources};

/// The checkout, fixed when the harness is built: `target/` holds only what it was built from.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// Things that the set-up fetched: the virtual environment, tools, kernels.
#[must_use]
pub fn cache() -> PathBuf {
    root().join(".cache")
}

/// The interpreter of the project's virtual environment.
#[must_use]
pub fn python() -> PathBuf {
    cache().join("venv/bin/python")
}

/// The virtual environment of the libraries that `make bench` compares with.
#[must_use]
pub fn peers() -> PathBuf {
    cache().join("peers")
}

/// The FUSE daemon under test.
///
/// # Errors
/// `vexfs.toml` is refused.
pub fn fuse_daemon() -> Result<PathBuf, Failure> {
    Ok(match &config::current()?.fuse {
        Some(own) if own.program.is_dir() => sources::fuse_product(),
        Some(own) => own.program.clone(),
        None => root().join("target/release/vexfs_fuse"),
    })
}

/// The module under test, built for kernel `release`.
///
/// # Errors
/// `vexfs.toml` is refused.
pub fn kernel_module(release: &str) -> Result<PathBuf, Failure> {
    Ok(match &config::current()?.module {
        Some(own) if own.is_dir() => sources::module_product(release),
        Some(own) => own.clone(),
        None => root().join("target/vexfs-ko").join(release).join("vexfs.ko"),
    })
}

/// The module's test build for kernel `release`, whose allocations can be made to fail.
#[must_use]
pub fn fault_injection_module(release: &str) -> PathBuf {
    root().join("target/vexfs-ko").join(release).join("fault-injection/vexfs.ko")
}

/// Runs of `vexfs-validate run`, one directory each, and `latest`.
#[must_use]
pub fn validation_runs() -> PathBuf {
    root().join("target/validation")
}

/// The running kernel's release, as `uname -r` prints it.
#[must_use]
pub fn running_kernel() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}
