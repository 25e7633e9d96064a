//! `vexfs-validate attest DIR` and `vexfs-validate verify FILE`

pub(crate) mod secret_key;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use evidence::exit;
use verdict::attestation::{Statement, sign};

use super::output::outln;
use super::stop::Stop;
use machine::atomic;
pub(crate) use verify::{Verify, open, public_key, refused, shown, verify};

/// The attestation's file name in the run's directory.
const FILE: &str = "attestation.intoto.json";

/// `attest`.
#[derive(Debug, Args)]
pub(super) struct Attest {
    /// The run's directory, e.g. target/validation/latest
    dir: PathBuf,
    /// The secret key that signs: of signify(1) or minisign(1)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the attestation goes [default: attestation.intoto.json in the run's directory]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Directories of soaks that count for bare metal, beside those in the run's own soak/
    #[arg(long, value_name = "DIR", num_args = 1..)]
    soak: Vec<PathBuf>,
}

/// Judges the evidence, and signs the verdict if it is PASS.
pub(super) fn attest(options: &Attest) -> Result<ExitCode, Stop> {
    let evidence = super::verdict::read(&options.dir, &options.soak)?;
    let statement = Statement::of(&evidence, now_ms())
        .map_err(|why| Stop::new(::verdict::exit_of(why.state()), why))?;
    // Ask for the passphrase only now, so that nobody types one for a run that is refused.
    let signer = secret_key::read(&options.key)?;
    let output = options.output.clone().unwrap_or_else(|| options.dir.join(FILE));
    let envelope = sign(&statement, &signer);
    atomic::write(&output, envelope.as_bytes()).map_err(|error| {
        Stop::new(
            exit::EVIDENCE,
            format!("{}: {error}; name another file with --output", output.display()),
        )
    })?;
    outln!("{}: {statement}; signed by key {}", output.display(), signer.id());
    Ok(ExitCode::SUCCESS)
}

/// Now, as Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    milliseconds(SystemTime::now())
}

/// Unix time in milliseconds.
fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Reads a file that the user has named.
fn named(path: &Path, what: &str) -> Result<Vec<u8>, Stop> {
    std::fs::read(path)
        .map_err(|error| Stop::new(exit::EVIDENCE, format!("{what} {}: {error}", path.display())))
}
