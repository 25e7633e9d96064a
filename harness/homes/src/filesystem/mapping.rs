//! Trials of mmap(2).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use machine::failure::{Failure, WithContext};
use machine::require;

use super::asked::GROWS;
use super::contract::ByContract;
use super::expect::{noise, same, same_bytes};
use super::mapped::Mapping;
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    mmap_shared,
    mmap_private,
    mappings_and_calls_see_the_same,
    mappings_grow_by_mremap,
    mappings_outlive_name_and_descriptor,
    mapped_bytes_beyond_the_file_are_lost,
    truncation_under_a_mapping_is_sigbus,
    programs_run,
];

const PAGE: usize = 4096;

/// A file of noise, open for reading and writing.
fn file_of(dir: &Path, length: usize) -> Result<(PathBuf, File, Vec<u8>), Failure> {
    let path = dir.join("f");
    let bytes = noise(length);
    fs::write(&path, &bytes)?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    Ok((path, file, bytes))
}

fn mmap_shared(dir: &Path) -> Result<(), Failure> {
    let (path, file, mut bytes) = file_of(dir, 10_000)?;
    let mapping = Mapping::shared(&file, bytes.len())?;
    same_bytes(&mapping.load(0, bytes.len()), &bytes)?;
    mapping.store(5_000, &[0x5A; 10]);
    bytes[5_000..5_010].fill(0x5A);
    mapping.sync().context("msync")?;
    same(&path, &bytes)
}

fn mmap_private(dir: &Path) -> Result<(), Failure> {
    let (path, file, bytes) = file_of(dir, 10_000)?;
    let mapping = Mapping::private(&file, bytes.len())?;
    mapping.store(100, &[!bytes[100]]);
    mapping.sync().context("msync")?;
    drop(mapping);
    same(&path, &bytes).context("a private mapping wrote through")
}

/// There is no synchronising call in between.
fn mappings_and_calls_see_the_same(dir: &Path) -> Result<(), Failure> {
    let (path, file, mut bytes) = file_of(dir, 3 * PAGE)?;
    let (one, two) = (Mapping::shared(&file, 3 * PAGE)?, Mapping::shared(&file, 3 * PAGE)?);
    one.store(PAGE - 2, b"four");
    bytes[PAGE - 2..PAGE + 2].copy_from_slice(b"four");
    same_bytes(&two.load(0, bytes.len()), &bytes).context("the other mapping")?;
    same(&path, &bytes).context("read(2) after a store")?;
    file.write_all_at(b"written", 2 * PAGE as u64)?;
    bytes[2 * PAGE..][..7].copy_from_slice(b"written");
    same_bytes(&two.load(0, bytes.len()), &bytes).context("a mapping after write(2)")
}

fn mappings_grow_by_mremap(dir: &Path) -> Result<(), Failure> {
    let (path, file, mut bytes) = file_of(dir, 9 * PAGE)?;
    let mut mapping = Mapping::shared(&file, PAGE)?;
    mapping.store(0, b"before");
    mapping.resize(9 * PAGE)?;
    mapping.store(8 * PAGE, b"after");
    bytes[..6].copy_from_slice(b"before");
    bytes[8 * PAGE..][..5].copy_from_slice(b"after");
    same_bytes(&mapping.load(0, bytes.len()), &bytes)?;
    mapping.resize(2 * PAGE)?;
    same_bytes(&mapping.load(0, 2 * PAGE), &bytes[..2 * PAGE])?;
    drop(mapping);
    same(&path, &bytes)
}

fn mappings_outlive_name_and_descriptor(dir: &Path) -> Result<(), Failure> {
    let (path, file, bytes) = file_of(dir, 5 * PAGE)?;
    let mapping = Mapping::shared(&file, bytes.len())?;
    drop(file);
    fs::remove_file(&path)?;
    mapping.store(4 * PAGE, b"still");
    same_bytes(&mapping.load(4 * PAGE, 5), b"still")?;
    same_bytes(&mapping.load(0, 4 * PAGE), &bytes[..4 * PAGE])
}

/// The rest of a file's last page is zeros and never becomes part of the file, whatever is stored
/// there.
fn mapped_bytes_beyond_the_file_are_lost(dir: &Path) -> Result<(), Failure> {
    let (path, file, mut bytes) = file_of(dir, PAGE + 100)?;
    let mapping = Mapping::shared(&file, 2 * PAGE)?;
    same_bytes(&mapping.load(PAGE + 100, PAGE - 100), &[0; PAGE - 100])
        .context("the page's rest")?;
    mapping.store(PAGE + 100, b"lost");
    mapping.sync().context("msync")?;
    same(&path, &bytes)?;
    drop(mapping);
    file.set_len(2 * PAGE as u64)?;
    bytes.resize(2 * PAGE, 0);
    same(&path, &bytes)
        .context("the file, extended over what was stored beyond its end")
        .by_contract(GROWS)
}

/// The signal that kills a child that reads the byte at `address`; `None` if the child can read it.
pub fn signal_of_reading(address: *const u8) -> Result<Option<i32>, Failure> {
    let address = address as usize;
    let mut child = Command::new("true");
    child.stdin(Stdio::null());
    // SAFETY: between fork and exec the child only makes a system call and reads a byte of a
    // mapping that it has inherited; if the page does not exist any more, the kernel kills the
    // child.
    unsafe {
        child.pre_exec(move || {
            // Write no core file.
            libc::prctl(libc::PR_SET_DUMPABLE, 0);
            std::ptr::read_volatile(address as *const u8);
            Ok(())
        });
    }
    Ok(child.status().context("a child that reads a mapping")?.signal())
}

fn truncation_under_a_mapping_is_sigbus(dir: &Path) -> Result<(), Failure> {
    let (_, file, bytes) = file_of(dir, 3 * PAGE)?;
    let mapping = Mapping::shared(&file, 3 * PAGE)?;
    // Read everything first: the truncation must remove it from memory.
    same_bytes(&mapping.load(0, bytes.len()), &bytes)?;
    file.set_len(100)?;
    let signal = signal_of_reading(mapping.address(0))?;
    require!(signal.is_none(), "reading a byte within the file: signal {signal:?}, expected none");
    for page in [1, 2] {
        let signal = signal_of_reading(mapping.address(page * PAGE))?;
        require!(
            signal == Some(libc::SIGBUS),
            "reading page {page}, which was cut off: signal {signal:?}, expected SIGBUS"
        );
    }
    same_bytes(&mapping.load(100, PAGE - 100), &[0; PAGE - 100]).context("what was cut off")?;
    file.set_len(3 * PAGE as u64)?;
    same_bytes(&mapping.load(100, 3 * PAGE - 100), &[0; 3 * PAGE - 100]).context("longer again")
}

/// exec(2) maps programs.
fn programs_run(dir: &Path) -> Result<(), Failure> {
    let program = dir.join("program");
    fs::copy("/bin/true", &program)?;
    let status =
        Command::new(&program).status().context("running a program that is on the mount")?;
    require!(status.success(), "/bin/true, copied to the mount, ended with {status}");
    Ok(())
}
