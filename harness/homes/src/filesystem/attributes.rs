//! The results of stat(2) and statfs(2), and the calls that change them.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::require;
use nix::sys::statvfs::statvfs;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::thread::UnshareFlags;

use super::asked::{COUNTS, LIMITS_TOLD, NAMES, SPECIAL_FILES};
use super::contract::{ByContract, Lacking, contract_requires};
use super::expect::{expect_errno, free_bytes};
use super::operation::{Operation, operations};
use super::threads::in_thread;

pub(super) const OPERATIONS: &[Operation] = operations![
    chmod,
    chown_by_root_only,
    umask,
    special_files,
    statfs_counts,
    statfs_tells_the_limits.on("size=8M,nr_inodes=100"),
];

fn mode_of(path: &Path) -> Result<u32, Failure> {
    Ok(fs::metadata(path)?.mode() & 0o7777)
}

fn chmod(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    fs::write(&path, "")?;
    for mode in [0o600, 0o444, 0o755, 0o4711, 0o1000, 0o000] {
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        let found = mode_of(&path)?;
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
        return expect_errno(given, libc::EPERM, "chown by a user other than root");
    }
    given?;
    chown(&path, None, None).context("chown of nothing")?;
    let metadata = fs::metadata(&path)?;
    require!(
        (metadata.uid(), metadata.gid()) == (12_345, 23_456),
        "owner {}:{} after chown 12345:23456",
        metadata.uid(),
        metadata.gid()
    );
    Ok(())
}

fn umask(dir: &Path) -> Result<(), Failure> {
    let mut lacking = Lacking::default();
    in_thread(|| {
        // SAFETY: only the file system context is unshared, which contains the umask, and this
        // thread ends with it.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.context("unshare")?;
        rustix::process::umask(Mode::from_raw_mode(0o027));
        File::create(dir.join("f"))?;
        fs::DirBuilder::new().mode(0o777).create(dir.join("d"))?;
        let fifo = mknodat(CWD, dir.join("p"), FileType::Fifo, Mode::from_raw_mode(0o666), 0);
        lacking.note(fifo.context("mkfifo").by_contract(SPECIAL_FILES))
    })?;
    for (name, due) in [("f", 0o640), ("d", 0o750), ("p", 0o640)] {
        if name == "p" && lacking.any() {
            break;
        }
        let found = mode_of(&dir.join(name))?;
        require!(found == due, "{name} has mode {found:o} under umask 027, expected {due:o}");
    }
    lacking.told()
}

fn special_files(dir: &Path) -> Result<(), Failure> {
    let (pipe, socket, device) = (dir.join("pipe"), dir.join("socket"), dir.join("null"));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0)
        .context("mkfifo")
        .by_contract(SPECIAL_FILES)?;
    require!(fs::metadata(&pipe)?.file_type().is_fifo(), "stat does not report the FIFO as a FIFO");
    // Open for reading and writing at once, so that neither end waits for the other.
    let mut end = File::options().read(true).write(true).open(&pipe)?;
    std::io::Write::write_all(&mut end, b"through")?;
    let mut through = [0; 7];
    std::io::Read::read_exact(&mut end, &mut through)?;
    require!(through == *b"through", "the pipe gave {through:?}");
    let listener = UnixListener::bind(&socket).context("bind").by_contract(SPECIAL_FILES)?;
    require!(
        fs::metadata(&socket)?.file_type().is_socket(),
        "stat does not report the socket as a socket"
    );
    UnixStream::connect(&socket).context("connect")?;
    drop(listener);
    let made = mknodat(CWD, &device, FileType::CharacterDevice, Mode::RWXU, makedev(1, 3));
    if !nix::unistd::geteuid().is_root() {
        return expect_errno(made, libc::EPERM, "a device made by a user other than root");
    }
    made.context("mknod").by_contract(SPECIAL_FILES)?;
    let rdev = fs::metadata(&device)?.rdev();
    require!(rdev == makedev(1, 3), "the device has the number {rdev:#x}");
    Ok(())
}

/// How many bytes and inodes are free.
fn free(dir: &Path) -> Result<(u64, u64), Failure> {
    Ok((free_bytes(dir)?, statvfs(dir).context("statvfs")?.files_free()))
}

fn statfs_counts(dir: &Path) -> Result<(), Failure> {
    const WRITTEN: u64 = 4 << 20;
    let (bytes_before, files_before) = free(dir)?;
    fs::write(dir.join("f"), vec![1; usize::try_from(WRITTEN)?])?;
    let (bytes, files) = free(dir)?;
    contract_requires!(
        COUNTS,
        bytes_before.saturating_sub(bytes) >= WRITTEN && files < files_before,
        "4 MiB in a new file took {} bytes and {} inodes",
        bytes_before.saturating_sub(bytes),
        files_before.saturating_sub(files)
    );
    fs::remove_file(dir.join("f"))?;
    // An unlinked file is freed with its last reference, which FUSE learns about a little later.
    wait_for("a removed file's space", Duration::from_secs(10), || {
        Ok((free(dir)? == (bytes_before, files_before)).then_some(()))
    })
    .by_contract(COUNTS)
}

fn statfs_tells_the_limits(dir: &Path) -> Result<(), Failure> {
    let stat = statvfs(dir).context("statvfs")?;
    let size = stat.blocks().saturating_mul(stat.fragment_size());
    let (files, files_free) = (stat.files(), stat.files_free());
    contract_requires!(LIMITS_TOLD, size == 8 << 20, "a mount of 8 MiB has {size} bytes");
    contract_requires!(LIMITS_TOLD, files == 100, "a mount of 100 inodes has {files}");
    // The root and this directory take two inodes.
    contract_requires!(LIMITS_TOLD, files_free == 98, "{files_free} inodes are free, expected 98");
    contract_requires!(
        LIMITS_TOLD,
        stat.blocks_available() == stat.blocks_free(),
        "some free blocks are not available to users"
    );
    contract_requires!(
        NAMES,
        stat.name_max() == 255,
        "statvfs reports names of at most {} bytes, expected 255",
        stat.name_max()
    );
    let (before, _) = free(dir)?;
    fs::write(dir.join("f"), "a byte takes a block")?;
    let (after, _) = free(dir)?;
    contract_requires!(
        LIMITS_TOLD,
        before.checked_sub(after) == Some(4096),
        "a small file leaves {after} of {before} bytes free, and should take 4096"
    );
    Ok(())
}
