//! `vexfs-validate verify FILE`: checks an attestation, offline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use evidence::digest::sha256;
use evidence::exit;
use verdict::attestation::{PublicKey, Refusal, ShownFile, ShownFiles, Statement};

use super::{milliseconds, named};
use crate::output::outln;
use crate::stop::Stop;

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The attestation, as `attest` has written it
    file: PathBuf,
    /// The public key of the trusted signer: of signify(1) or minisign(1)
    #[arg(long, value_name = "PUBKEY")]
    key: PathBuf,
    /// The module file that it must cover
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// The FUSE daemon that it must cover
    #[arg(long, value_name = "FILE")]
    fuse: Option<PathBuf>,
    /// The kernel that it must cover, as `uname -r` prints it
    #[arg(long, value_name = "RELEASE")]
    kernel: Option<String>,
}

/// Prints in one line what the attestation holds for, or fails with the reason why it does not.
pub(crate) fn verify(options: &Verify) -> Result<ExitCode, Stop> {
    let key = public_key(&options.key)?;
    let file = |path: &Option<PathBuf>, what| {
        path.as_deref().map(|path| Ok::<_, Stop>(shown(path, what)?.0)).transpose()
    };
    let (module, fuse) = (file(&options.module, "module")?, file(&options.fuse, "FUSE daemon")?);
    let (statement, _) = open(&options.file, &key)?;
    let all = ShownFiles {
        module: module.as_ref(),
        fuse: fuse.as_ref(),
        kernel: options.kernel.as_deref(),
    };
    statement.must_hold_for(all).map_err(|why| refused(&options.file, &why))?;
    outln!("holds: {statement}; signed by key {}", key.id());
    Ok(ExitCode::SUCCESS)
}

/// Reads a public key.
pub(crate) fn public_key(path: &Path) -> Result<PublicKey, Stop> {
    let text = named(path, "public key")?;
    PublicKey::read(&String::from_utf8_lossy(&text))
        .map_err(|why| Stop::new(exit::USAGE, format!("public key {}: {why}", path.display())))
}

/// Opens an attestation that `key` must have signed. Returns its statement and its text.
pub(crate) fn open(path: &Path, key: &PublicKey) -> Result<(Statement, Vec<u8>), Stop> {
    let text = named(path, "attestation")?;
    let statement = verdict::attestation::open(&text, key).map_err(|why| refused(path, &why))?;
    Ok((statement, text))
}

/// Reads a file to compare with an attestation. Returns it with its bytes, which are those that
/// were hashed.
pub(crate) fn shown(path: &Path, what: &str) -> Result<(ShownFile, Vec<u8>), Stop> {
    let bytes = named(path, what)?;
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let file = ShownFile {
        path: path.display().to_string(),
        sha256: sha256(&bytes),
        changed_ms: changed.ok().map(milliseconds),
    };
    Ok((file, bytes))
}

/// The error for an attestation that does not hold.
pub(crate) fn refused(path: &Path, why: &Refusal) -> Stop {
    Stop::new(exit::REFUSED, format!("{} does not hold: {why}", path.display()))
}
