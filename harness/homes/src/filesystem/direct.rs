//! O_DIRECT, which bypasses the page cache, beside readers that use the cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::failure::{Failure, WithContext};
use machine::require;

use super::asked::DIRECT;
use super::asynchronous::write_to_all;
use super::contract::contract_requires;
use super::expect::{noise, same, same_bytes};
use super::operation::{Effort, Operation, operations};
use super::threads::{beside, in_threads};

pub(super) const OPERATIONS: &[Operation] = operations![
    direct_io_or_einval,
    readers_see_what_was_written_asynchronously.effort(Effort::Long),
];

const BLOCK: usize = 4096;

/// Opens `path` with O_DIRECT; `None` if that is refused, as the contract allows.
fn open_directly(path: &Path) -> Result<Option<File>, Failure> {
    match OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(None),
        opened => Ok(Some(opened.context("open with O_DIRECT")?)),
    }
}

/// A buffer that holds `length` bytes from a block boundary on, and the range of these bytes in it.
fn aligned(length: usize) -> (Vec<u8>, std::ops::Range<usize>) {
    let memory = vec![0; length + BLOCK];
    let start = memory.as_ptr().align_offset(BLOCK);
    (memory, start..start + length)
}

/// Reads or writes with O_DIRECT. Returns whether that is done; it may be refused with EINVAL, as
/// where blocks are larger than [`BLOCK`].
fn done_directly(result: io::Result<()>, what: &str) -> Result<bool, Failure> {
    match result {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(false),
        done => done.map(|()| true).context(what),
    }
}

/// A reader with O_DIRECT must see the same bytes as everybody else, or get EINVAL.
fn direct_io_or_einval(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let mut bytes = noise(4 * BLOCK);
    fs::write(&path, &bytes)?;
    let Some(direct) = open_directly(&path)? else { return Ok(()) };
    let (mut memory, range) = aligned(BLOCK);
    let block = &mut memory[range];
    if done_directly(direct.read_exact_at(block, BLOCK as u64), "a direct read")? {
        same_bytes(block, &bytes[BLOCK..2 * BLOCK])?;
    }
    block.fill(0xA5);
    if done_directly(direct.write_all_at(block, 2 * BLOCK as u64), "a direct write")? {
        bytes[2 * BLOCK..3 * BLOCK].fill(0xA5);
    }
    same(&path, &bytes)
}

/// Asynchronous writes, with O_DIRECT if possible, beside readers that use the page cache: once a
/// write is complete, read(2) must see it.
///
/// A reader that meets a write half done must not leave what it found in the cache. Long writes and
/// short reads, both from the end of the file on, meet most often.
fn readers_see_what_was_written_asynchronously(dir: &Path) -> Result<(), Failure> {
    const CHUNK: usize = 256 * BLOCK;
    const CHUNKS: usize = 8;
    const BLOCKS: usize = CHUNK * CHUNKS / BLOCK;
    const ROUNDS: u8 = 20;
    let path = dir.join("f");
    fs::write(&path, vec![0; CHUNK * CHUNKS])?;
    let direct = open_directly(&path)?;
    let is_direct = direct.is_some();
    let written = match direct {
        Some(direct) => direct,
        None => OpenOptions::new().read(true).write(true).open(&path)?,
    };
    let reader = File::open(&path)?;
    let write = || -> Result<(), Failure> {
        let (mut memory, range) = aligned(CHUNK);
        let mut read = vec![0; CHUNK * CHUNKS];
        for round in 1..=ROUNDS {
            memory[range.clone()].fill(round);
            write_to_all(&written, &memory[range.clone()], CHUNKS)?;
            reader.read_exact_at(&mut read, 0)?;
            let stale = read.iter().step_by(BLOCK).filter(|&&byte| byte != round).count();
            let told = format!(
                "round {round}: of {BLOCKS} pages that were written asynchronously, {stale} are read \
                 as they were before"
            );
            // Without O_DIRECT, POSIX requires it.
            require!(stale == 0 || is_direct, "{told}");
            contract_requires!(DIRECT, stale == 0, "{told}");
        }
        Ok(())
    };
    let read = |thread: usize, busy: &AtomicBool| -> Result<(), Failure> {
        let (mut block, mut at) = ([0; BLOCK], thread * 17);
        while busy.load(Ordering::SeqCst) {
            at = (at + BLOCKS - 1) % BLOCKS;
            reader
                .read_exact_at(&mut block, (at * BLOCK) as u64)
                .context("a read beside writes")?;
        }
        Ok(())
    };
    beside(write, |busy| in_threads(4, |thread| read(thread, busy)))?;
    same(&path, &vec![ROUNDS; CHUNK * CHUNKS])
}
