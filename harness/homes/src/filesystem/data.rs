//! Bytes in files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use sha2::{Digest, Sha256};

use super::asked::SYNCS_DIRECTORIES;
use super::contract::ByContract;
use super::expect::{noise, same};
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] =
    operations![write_and_read_back, write_in_the_middle, truncate, large_file_by_hash, fsync,];

fn write_and_read_back(dir: &Path) -> Result<(), Failure> {
    for length in [0, 1, 4095, 4096, 4097, 131_072, 1_000_003] {
        let file = dir.join(format!("f{length}"));
        let bytes = noise(length);
        fs::write(&file, &bytes)?;
        same(&file, &bytes).context(format!("{length} bytes"))?;
        require!(fs::metadata(&file)?.len() == length as u64, "wrong size for {length}");
    }
    Ok(())
}

fn write_in_the_middle(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let mut bytes = noise(20_000);
    fs::write(&path, &bytes)?;
    let file = OpenOptions::new().write(true).open(&path)?;
    for (offset, length) in [(0_usize, 10_usize), (4090, 20), (8192, 4096), (19_990, 10)] {
        let patch = vec![0xA5; length];
        file.write_all_at(&patch, offset as u64)?;
        bytes[offset..offset + length].copy_from_slice(&patch);
    }
    same(&path, &bytes)
}

fn truncate(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let bytes = noise(10_000);
    fs::write(&path, &bytes)?;
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(5_001)?;
    same(&path, &bytes[..5_001]).context("shorter")?;
    file.set_len(9_000)?;
    // Bytes that were cut off must not come back.
    let mut longer = bytes[..5_001].to_vec();
    longer.resize(9_000, 0);
    same(&path, &longer).context("longer again")?;
    file.set_len(0)?;
    same(&path, &[]).context("empty")
}

fn large_file_by_hash(dir: &Path) -> Result<(), Failure> {
    const PIECES: usize = 32;
    let path = dir.join("f");
    let piece = noise(1 << 20);
    let (mut written, mut read) = (Sha256::new(), Sha256::new());
    let mut file = File::create(&path)?;
    for number in 0..PIECES {
        let mut piece = piece.clone();
        piece[..8].copy_from_slice(&(number as u64).to_le_bytes());
        file.write_all(&piece)?;
        written.update(&piece);
    }
    let mut file = uncached::open(&path)?;
    let mut buffer = vec![0; 300_000];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => read.update(&buffer[..count]),
        }
    }
    let (written, read) = (written.finalize(), read.finalize());
    require!(
        written == read,
        "32 MiB were written with SHA-256 {} and read with {}",
        evidence::digest::hex(&written),
        evidence::digest::hex(&read)
    );
    Ok(())
}

fn fsync(dir: &Path) -> Result<(), Failure> {
    let mut file = File::create(dir.join("f"))?;
    file.write_all(&noise(5_000))?;
    file.sync_all()?;
    file.sync_data()?;
    let synced = File::open(dir)?.sync_all().context("fsync of a directory");
    synced.by_contract(SYNCS_DIRECTORIES)
}
