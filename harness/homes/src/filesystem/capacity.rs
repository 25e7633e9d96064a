//! Behaviour at the limits of the mount, of its inodes, and of a process.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{fail, require, uncached};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::statvfs::statvfs;
use rustix::fs::{FallocateFlags, fallocate};

use super::allocation::allocates;
use super::asked::{
    ALLOCATES, ALLOCATES_ALL_OR_NOTHING, FREE_AT_ONCE, HOLES, INODES_BY_SIZE, INODES_COUNT, LIMITS,
    LONG_SYMLINKS, OVERWRITES, SYMLINKS_COUNT,
};
use super::contract::{ByContract, Lacking, contract_requires, require_asked};
use super::expect::{expect_errno, noise, same};
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    a_full_mount_loses_nothing.on("size=8M"),
    a_full_mount_allocates_nothing.on("size=8M"),
    inodes_follow_the_size.on("size=32M"),
    symbolic_links_count.on("size=1M,nr_inodes=10000"),
    room_is_free_when_it_was_given_back.on("size=256K,nr_inodes=3"),
    a_mount_out_of_inodes_loses_nothing.on("size=8M,nr_inodes=40"),
    a_process_has_its_own_limit,
];

/// Checks that `size=` is a limit. `try` uses this operation, but the trials do not, because they
/// check more.
pub(super) const SIZE_IS_A_LIMIT: Operation =
    Operation::new("size_is_a_limit", size_is_a_limit).on("size=1M");

/// How long freeing may take: FUSE frees a file only when the kernel has told it to forget the
/// file.
const FREED: Duration = Duration::from_secs(10);

fn size_is_a_limit(dir: &Path) -> Result<(), Failure> {
    const TWICE: usize = 2 << 20;
    let mut file = File::create(dir.join("f"))?;
    for _ in 0..TWICE / 65_536 {
        match file.write_all(&[9; 65_536]).and_then(|()| file.sync_data()) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(()),
            written => written.context("filling a mount of 1 MiB, expected ENOSPC")?,
        }
    }
    fail!("2 MiB fit into a mount of size=1M, expected ENOSPC")
}

/// By default, a mount may have one inode for each 4 KiB of its size.
fn inodes_follow_the_size(dir: &Path) -> Result<(), Failure> {
    let limits = statvfs(dir)?;
    let bytes = limits.blocks().saturating_mul(limits.fragment_size());
    let inodes = limits.files();
    contract_requires!(INODES_BY_SIZE, bytes == 32 << 20, "a mount of 32 MiB has {bytes} bytes");
    contract_requires!(INODES_BY_SIZE, inodes == 8_192, "a mount of 32 MiB has {inodes} inodes");
    Ok(())
}

/// ENOSPC at the mount's limit; earlier data stays, and freed room can be used again.
fn a_full_mount_loses_nothing(dir: &Path) -> Result<(), Failure> {
    let (kept, filler) = (dir.join("kept"), dir.join("filler"));
    let bytes = noise(1 << 20);
    fs::write(&kept, &bytes)?;
    let written = fill(&filler)?;
    require!(fs::metadata(&filler)?.len() == written, "the full file has another size");
    contract_requires!(
        LIMITS,
        written > 6 << 20,
        "a mount of 8 MiB with 1 MiB in it is full with {written} more"
    );
    same(&kept, &bytes).context("a full mount changed another file")?;
    // Existing bytes can be overwritten, and a hole can be made, but not filled.
    let file = OpenOptions::new().write(true).open(&kept)?;
    file.write_all_at(&bytes, 0).context("overwriting at the limit").by_contract(OVERWRITES)?;
    file.set_len(2 << 20).context("a hole at the limit").by_contract(HOLES)?;
    fs::remove_file(&filler)?;
    wait_for("freed space that can be used again", FREED, || {
        Ok(fs::write(dir.join("again"), vec![8; 2 << 20]).is_ok().then_some(()))
    })
}

/// Writes until ENOSPC, and returns how many bytes were accepted.
pub(super) fn fill(path: &Path) -> Result<u64, Failure> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let stat = statvfs(path)?;
    let limit = stat.blocks().saturating_mul(stat.fragment_size());
    let (mut written, mut synced) = (0, 0);
    while written <= limit {
        match file.write(&[9; 65_000]) {
            Ok(count) => written += count as u64,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(written),
            Err(error) => return Err(error).context("filling the mount"),
        }
        // Where the kernel writes back for FUSE (FUSE_WRITEBACK_CACHE), fsync(2) tells that there is
        // no room. What is lost then has been told.
        if written - synced >= 1 << 20 {
            match file.sync_data() {
                Ok(()) => synced = written,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    return Ok(file.metadata()?.len());
                }
                Err(error) => return Err(error).context("fsync while the mount is filled"),
            }
        }
    }
    fail!("{written} bytes fit into a mount of {limit}")
}

fn a_full_mount_allocates_nothing(dir: &Path) -> Result<(), Failure> {
    allocates(dir)?;
    let path = dir.join("f");
    let bytes = noise(10_000);
    fs::write(&path, &bytes)?;
    let file = OpenOptions::new().write(true).open(&path)?;
    let before = statvfs(dir)?.blocks_free();
    for flags in [FallocateFlags::empty(), FallocateFlags::KEEP_SIZE] {
        let more = fallocate(&file, flags, 0, 9 << 20);
        expect_errno(more, libc::ENOSPC, "fallocate of more than is free")
            .by_contract(ALLOCATES_ALL_OR_NOTHING)?;
        let read = uncached::read(&path)?;
        require!(read.starts_with(&bytes), "a refused fallocate has changed the file");
        // ext4 keeps what it has allocated before there was no more, and the file is longer.
        contract_requires!(
            ALLOCATES_ALL_OR_NOTHING,
            read.len() == bytes.len() && statvfs(dir)?.blocks_free() == before,
            "a refused fallocate took room"
        );
    }
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 7 << 20)
        .context("fallocate of what fits")
        .by_contract(ALLOCATES)?;
    expect_errno(fs::write(dir.join("g"), vec![1; 2 << 20]), libc::ENOSPC, "what no longer fits")
        .by_contract(ALLOCATES)?;
    // Allocated room can be written to at any time.
    file.write_all_at(&vec![5; 7 << 20], 0).context("writing to it")
}

/// The targets of symbolic links are stored, so they count: links fill a mount as files do.
fn symbolic_links_count(dir: &Path) -> Result<(), Failure> {
    const LONGEST: usize = 4095;
    const MOST: usize = (1 << 20) / LONGEST;
    let target = "x".repeat(LONGEST);
    let path = |number: usize| -> PathBuf { dir.join(number.to_string()) };
    let mut links = 0;
    let refused = loop {
        match symlink(&target, path(links)) {
            Ok(()) => links += 1,
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
                return Err(error).context("a link of 4,095 bytes").by_contract(LONG_SYMLINKS);
            }
            Err(error) => break Err::<(), _>(error),
        }
        contract_requires!(
            SYMLINKS_COUNT,
            links <= MOST,
            "{links} links of {LONGEST} bytes are on a mount of 1 MiB"
        );
    };
    expect_errno(refused, libc::ENOSPC, "a symbolic link beyond the mount's size")?;
    let mut lacking = Lacking::default();
    let told = format!("a mount of 1 MiB is full with {links} links");
    lacking.note(require_asked(SYMLINKS_COUNT, links > MOST / 2, told))?;
    let free = statvfs(dir)?.blocks_free();
    let told = format!("statfs says that {free} blocks are free on the full mount");
    lacking.note(require_asked(SYMLINKS_COUNT, free <= 2, told))?;
    require!(fs::read_link(path(0))?.as_os_str().len() == LONGEST, "a link has lost its target");
    for number in 0..links {
        fs::remove_file(path(number))?;
    }
    wait_for("the room of the links", FREED, || {
        Ok(fs::write(dir.join("f"), vec![1; 1 << 19]).is_ok().then_some(()))
    })?;
    lacking.told()
}

/// A file that uses all room and all inodes is removed, and the next one is made at once.
fn room_is_free_when_it_was_given_back(dir: &Path) -> Result<(), Failure> {
    const ROUNDS: usize = 200;
    let path = dir.join("all");
    let limits = statvfs(dir)?;
    let due = (limits.blocks_free(), limits.files_free());
    contract_requires!(
        INODES_COUNT,
        due == (64, 1),
        "a mount of 64 pages and 3 inodes has {due:?} blocks and inodes free, expected (64, 1)"
    );
    let all = vec![1; 64 * 4096];
    for round in 0..ROUNDS {
        let what = ["unlink", "close of an unlinked file", "truncate"][round % 3];
        let told = |doing: &str| format!("round {round}, {doing} after {what} gave all room back");
        let written = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let mut file = written.context(told("create")).by_contract(FREE_AT_ONCE)?;
        file.write_all(&all).context(told("write")).by_contract(FREE_AT_ONCE)?;
        match what {
            "truncate" => {
                file.set_len(0)?;
                let free = statvfs(dir)?.blocks_free();
                contract_requires!(
                    FREE_AT_ONCE,
                    free == due.0,
                    "{free} of {} blocks are free: {}",
                    due.0,
                    told("statfs")
                );
                file.write_all_at(&all, 0).context(told("write")).by_contract(FREE_AT_ONCE)?;
                drop(file);
                fs::remove_file(&path)?;
            }
            "unlink" => {
                drop(file);
                fs::remove_file(&path)?;
            }
            _ => {
                fs::remove_file(&path)?;
                drop(file);
            }
        }
        let limits = statvfs(dir)?;
        let free = (limits.blocks_free(), limits.files_free());
        contract_requires!(
            FREE_AT_ONCE,
            free == due,
            "{free:?} blocks and inodes of {due:?} are free: {}",
            told("statfs")
        );
    }
    Ok(())
}

fn a_mount_out_of_inodes_loses_nothing(dir: &Path) -> Result<(), Failure> {
    let path = |number: usize| -> PathBuf { dir.join(number.to_string()) };
    // Two of the forty inodes are the root and this directory.
    for number in 0..38 {
        fs::write(path(number), number.to_string())
            .context(format!("file {number} of 38"))
            .by_contract(INODES_COUNT)?;
    }
    let one_more = || -> Result<(), Failure> {
        expect_errno(File::create(path(38)), libc::ENOSPC, "a file too many")?;
        expect_errno(fs::create_dir(path(38)), libc::ENOSPC, "a directory too many")?;
        expect_errno(symlink("0", path(38)), libc::ENOSPC, "a symbolic link too many")?;
        let link = fs::hard_link(path(0), path(38));
        expect_errno(link, libc::ENOSPC, "a hard link beyond the first, too many")
    };
    one_more().by_contract(INODES_COUNT)?;
    require!(fs::read_dir(dir)?.count() == 38, "a refused name is listed");
    for number in 0..38 {
        same(&path(number), number.to_string().as_bytes())?;
    }
    let renamed = fs::rename(path(0), path(38)).context("a rename, which needs no new inode");
    renamed.by_contract(INODES_COUNT)?;
    fs::remove_file(path(1))?;
    wait_for("an inode that was freed", FREED, || Ok(fs::hard_link(path(2), path(1)).ok()))?;
    expect_errno(File::create(path(0)), libc::ENOSPC, "a file beside the second link")
        .by_contract(INODES_COUNT)?;
    fs::rename(path(3), path(1)).context("a rename over the second link")?;
    wait_for("the link that was replaced", FREED, || Ok(fs::hard_link(path(2), path(3)).ok()))?;
    fs::remove_file(path(3))?;
    wait_for("the link that was removed", FREED, || Ok(fs::write(path(3), "3").ok()))
}

/// setrlimit(RLIMIT_FSIZE): a write that begins below the limit is short; a write beyond it raises
/// SIGXFSZ or fails with EFBIG.
fn a_process_has_its_own_limit(dir: &Path) -> Result<(), Failure> {
    const LIMIT: u64 = 10_000;
    let path = dir.join("f");
    for ignored in [false, true] {
        let mut writer = Command::new("dd");
        writer.args(["if=/dev/zero", "bs=4096", "count=5"]).env("LC_ALL", "C");
        writer.arg(format!("of={}", path.display())).stdout(Stdio::null());
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            writer.pre_exec(move || {
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                setrlimit(Resource::RLIMIT_FSIZE, LIMIT, LIMIT)?;
                let action = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
                libc::signal(libc::SIGXFSZ, action);
                Ok(())
            });
        }
        let output = writer.output().context("dd")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let ended = if ignored {
            output.status.code() == Some(1) && said.contains("File too large")
        } else {
            output.status.signal() == Some(libc::SIGXFSZ)
        };
        require!(ended, "dd ended with {} and said {said}", output.status);
        same(&path, &vec![0; usize::try_from(LIMIT)?])?;
    }
    Ok(())
}
