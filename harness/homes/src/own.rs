//! Whether a file system under test is somebody else's.

use machine::config;
use machine::failure::Failure;
use vexfs_uapi::Home;

/// Whether `vexfs.toml` names somebody else's `home`, in place of the reference.
///
/// # Errors
/// `vexfs.toml` is refused.
pub fn is_own(home: Home) -> Result<bool, Failure> {
    let config = config::current()?;
    Ok(match home {
        Home::Fuse => config.fuse.is_some(),
        Home::Kernel => config.module.is_some(),
    })
}
