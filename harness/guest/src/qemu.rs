//! The QEMU that runs the guest.

use std::io;
use std::process::Command;
use std::time::Duration;

use evidence::guest::{Accelerator, Qemu};
use machine::child::output;
use machine::programs;

use super::error::VmError;

/// The oldest release whose emulation is trusted. 7.2 computed AVX2 wrongly, so that sorts silently
/// returned unsorted arrays.
const OLDEST_FOR_EMULATION: u32 = 10;
/// Limit for saying its version, on a busy machine.
const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// Finds QEMU: the program that `VEXFS_QEMU` names, or the one on the PATH.
///
/// # Errors
/// If it is not there, or does not report its version.
pub fn find() -> Result<Qemu, VmError> {
    let path =
        programs::qemu().ok_or_else(|| VmError::NoQemu { program: programs::QEMU.to_owned() })?;
    let output = output(Command::new(&path).arg("--version"), VERSION_LIMIT)
        .map_err(|failure| io::Error::other(failure.to_string()))
        .map_err(VmError::system(format!("{} cannot be run", path.display())))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match version(&said) {
        Some(version) => Ok(Qemu { version: version.to_owned(), path }),
        None => Err(VmError::QemuVersion { path, said }),
    }
}

/// Refuses to emulate with a QEMU that computes wrongly.
///
/// # Errors
/// [`VmError::QemuTooOld`].
pub(super) fn must_be_fit_for(qemu: &Qemu, accelerator: Accelerator) -> Result<(), VmError> {
    let major = qemu.version.split('.').next().and_then(|digits| digits.parse::<u32>().ok());
    if accelerator == Accelerator::Kvm || major >= Some(OLDEST_FOR_EMULATION) {
        return Ok(());
    }
    Err(VmError::QemuTooOld {
        path: qemu.path.clone(),
        version: qemu.version.clone(),
        needed: OLDEST_FOR_EMULATION,
    })
}

/// `10.0.2` from `QEMU emulator version 10.0.2 (Debian …)`.
fn version(said: &str) -> Option<&str> {
    let version = said.split_once("version ")?.1.split_whitespace().next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        let said = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright";
        assert_eq!(version(said), Some("10.0.2"));
        assert_eq!(version("hello"), None);
        assert_eq!(version("version "), None);
    }

    #[rstest::rstest]
    #[case("7.2.17", Accelerator::Tcg, false)]
    #[case("9.2.0", Accelerator::Tcg, false)]
    #[case("10.0.2", Accelerator::Tcg, true)]
    #[case("11.1.0", Accelerator::Tcg, true)]
    #[case("7.2.17", Accelerator::Kvm, true)]
    fn old_versions_must_not_emulate(
        #[case] version: &str,
        #[case] accelerator: Accelerator,
        #[case] fit: bool,
    ) {
        let qemu = Qemu { path: programs::QEMU.into(), version: version.into() };
        assert_eq!(must_be_fit_for(&qemu, accelerator).is_ok(), fit);
    }
}
