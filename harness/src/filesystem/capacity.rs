//! What happens at a mount's size limit, whatever home serves it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::deadline::wait_for;
use crate::failure::{Failure, While};
use crate::{fail, require};

/// ENOSPC at the limit of `limit` bytes, what was written before stays, and room that is freed can
/// be used.
///
/// # Errors
/// What is otherwise.
pub fn a_full_mount_loses_nothing(dir: &Path, limit: u64) -> Result<(), Failure> {
    let (kept, filler) = (dir.join("kept"), dir.join("filler"));
    fs::write(&kept, vec![7; 1 << 20])?;
    let written = fill(&filler, limit)?;
    require!(fs::metadata(&filler)?.len() == written, "the full file has another size");
    require!(fs::read(&kept)? == vec![7; 1 << 20], "a full mount changed another file");
    fs::remove_file(&filler)?;
    // FUSE frees it once the kernel has told it to forget the file.
    wait_for("freed space that can be used again", Duration::from_secs(10), || {
        Ok(fs::write(dir.join("again"), vec![8; 2 << 20]).is_ok().then_some(()))
    })
}

/// Writes until ENOSPC; the bytes that were taken.
fn fill(path: &Path, limit: u64) -> Result<u64, Failure> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut written = 0;
    while written <= limit {
        match file.write(&[9; 65_536]) {
            Ok(count) => written += count as u64,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(written),
            Err(error) => return Err(error).when("filling the mount"),
        }
    }
    fail!("{written} bytes fit into a mount of {limit}")
}
