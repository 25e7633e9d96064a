//! Moving bytes with calls other than read(2) and write(2).

use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, IoSliceMut, Read};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use rustix::fs::{copy_file_range, sendfile};
use rustix::io::{preadv, pwritev};
use rustix::pipe::{SpliceFlags, pipe, splice};

use super::expect::{noise, same, same_bytes};
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    vectored_reads_and_writes,
    copy_file_range_copies,
    sendfile_sends,
    splice_moves_both_ways,
];

fn vectored_reads_and_writes(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let bytes = noise(9_000);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let (a, rest) = bytes.split_at(1);
    let (b, c) = rest.split_at(5_000);
    let parts = [a, &[], b, c].map(IoSlice::new);
    let written = pwritev(&file, &parts, 3).context("pwritev")?;
    require!(written == bytes.len(), "pwritev wrote {written} bytes of {}", bytes.len());
    same(&path, &[&[0; 3], &bytes[..]].concat())?;
    let (mut first, mut second) = (vec![0; 4_097], vec![0; 10_000]);
    let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    let read = preadv(&file, &mut parts, 3).context("preadv")?;
    require!(read == bytes.len(), "preadv read {read} bytes of {}", bytes.len());
    same_bytes(&[&first[..], &second[..read - first.len()]].concat(), &bytes)
}

fn source(dir: &Path) -> Result<(File, Vec<u8>), Failure> {
    let bytes = noise(300_000);
    fs::write(dir.join("source"), &bytes)?;
    Ok((File::open(dir.join("source"))?, bytes))
}

fn copy_file_range_copies(dir: &Path) -> Result<(), Failure> {
    let (source, bytes) = source(dir)?;
    let path = dir.join("target");
    let target = File::create(&path)?;
    let (mut from, mut to) = (1_000, 10);
    while from < bytes.len() as u64 {
        let count = copy_file_range(&source, Some(&mut from), &target, Some(&mut to), 1 << 20);
        require!(count.context("copy_file_range")? > 0, "nothing was copied at {from}");
    }
    same(&path, &[&[0; 10], &bytes[1_000..]].concat())
}

fn sendfile_sends(dir: &Path) -> Result<(), Failure> {
    let (source, bytes) = source(dir)?;
    let path = dir.join("target");
    let target = File::create(&path)?;
    let mut offset = 77;
    while offset < bytes.len() as u64 {
        let count = sendfile(&target, &source, Some(&mut offset), 100_000).context("sendfile")?;
        require!(count > 0, "nothing was sent at {offset}");
    }
    same(&path, &bytes[77..])
}

/// From a file through a pipe to a file; the pipe holds less than the file.
fn splice_moves_both_ways(dir: &Path) -> Result<(), Failure> {
    let (source, bytes) = source(dir)?;
    let path = dir.join("target");
    let target = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let (out, into) = pipe()?;
    let none = SpliceFlags::empty();
    let (mut read, mut written) = (0, 0);
    while read < bytes.len() as u64 {
        let mut held = splice(&source, Some(&mut read), &into, None, 30_000, none)
            .context("splice to a pipe")?;
        require!(held > 0, "nothing was spliced at {read}");
        while held > 0 {
            held -= splice(&out, None, &target, Some(&mut written), held, none)
                .context("splice from a pipe")?;
        }
    }
    same(&path, &bytes)?;
    drop(into);
    let left = File::from(out).read(&mut [0])?;
    require!(left == 0, "the pipe still holds bytes");
    Ok(())
}
