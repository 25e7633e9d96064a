//! What stat(2) and statfs(2) say, and what changes it.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;

use super::Operation;
use super::data::expect_errno;
use crate::failure::{Failure, While};
use crate::require;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "chmod", check: chmod },
    Operation { name: "chown_by_root_only", check: chown_by_root_only },
    Operation { name: "times_in_nanoseconds", check: times_in_nanoseconds },
    Operation { name: "writing_moves_mtime", check: writing_moves_mtime },
    Operation { name: "statfs_counts", check: statfs_counts },
];

fn chmod(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    fs::write(&path, "")?;
    for mode in [0o600, 0o444, 0o755, 0o000] {
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        let found = fs::metadata(&path)?.mode() & 0o7777;
        require!(found == mode, "mode {found:o} after chmod {mode:o}");
    }
    Ok(())
}

fn chown_by_root_only(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    fs::write(&path, "")?;
    let metadata = fs::metadata(&path)?;
    let me = nix::unistd::geteuid();
    require!(metadata.uid() == me.as_raw(), "owned by {}, created by {me}", metadata.uid());
    let given = chown(&path, Some(12_345), Some(23_456));
    if !me.is_root() {
        return expect_errno(given, libc::EPERM, "chown by somebody else than root");
    }
    given?;
    let metadata = fs::metadata(&path)?;
    require!(
        (metadata.uid(), metadata.gid()) == (12_345, 23_456),
        "owner {}:{} after chown 12345:23456",
        metadata.uid(),
        metadata.gid()
    );
    Ok(())
}

fn times_in_nanoseconds(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let file = File::create(&path)?;
    let accessed = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let modified = UNIX_EPOCH + Duration::new(2_000_000_000, 987_654_321);
    file.set_times(FileTimes::new().set_accessed(accessed).set_modified(modified))?;
    let metadata = fs::metadata(&path)?;
    require!(metadata.accessed()? == accessed, "atime {:?}", metadata.accessed()?);
    require!(metadata.modified()? == modified, "mtime {:?}", metadata.modified()?);
    Ok(())
}

fn writing_moves_mtime(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let file = File::create(&path)?;
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH))?;
    fs::write(&path, "new")?;
    let modified = fs::metadata(&path)?.modified()?;
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    require!(age < Duration::from_secs(3600), "mtime is {age:?} old after a write");
    Ok(())
}

fn statfs_counts(dir: &Path) -> Result<(), Failure> {
    const WRITTEN: u64 = 4 << 20;
    let free = || -> Result<(u64, u64), Failure> {
        let stat = statvfs(dir).when("statvfs")?;
        Ok((stat.blocks_free() * stat.fragment_size(), stat.files_free()))
    };
    let (bytes_before, files_before) = free()?;
    fs::write(dir.join("f"), vec![1; usize::try_from(WRITTEN)?])?;
    let (bytes, files) = free()?;
    require!(
        bytes_before.saturating_sub(bytes) >= WRITTEN && files < files_before,
        "4 MiB in a new file took {} bytes and {} inodes",
        bytes_before.saturating_sub(bytes),
        files_before.saturating_sub(files)
    );
    fs::remove_file(dir.join("f"))?;
    // An unlinked file is freed when the last reference is: FUSE is told of it a little later.
    crate::deadline::wait_for("a removed file's space", Duration::from_secs(10), || {
        Ok((free()? == (bytes_before, files_before)).then_some(()))
    })
}
