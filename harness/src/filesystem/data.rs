//! Bytes in files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap};
use rand_mt::Mt;
use sha2::{Digest, Sha256};

use super::Operation;
use crate::failure::{Failure, While};
use crate::require;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "write_and_read_back", check: write_and_read_back },
    Operation { name: "write_in_the_middle", check: write_in_the_middle },
    Operation { name: "append", check: append },
    Operation { name: "truncate", check: truncate },
    Operation { name: "open_truncates", check: open_truncates },
    Operation { name: "exclusive_create", check: exclusive_create },
    Operation { name: "sparse_file", check: sparse_file },
    Operation { name: "large_file_by_hash", check: large_file_by_hash },
    Operation { name: "mmap_shared", check: mmap_shared },
    Operation { name: "mmap_private", check: mmap_private },
    Operation { name: "fsync", check: fsync },
    Operation { name: "unlink_while_open", check: unlink_while_open },
];

/// Bytes without a pattern that a block size could hide.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Mt::new(7).fill_bytes(&mut bytes);
    bytes
}

fn same(file: &Path, expected: &[u8]) -> Result<(), Failure> {
    let read = fs::read(file).when(format!("reading {}", file.display()))?;
    require!(read.len() == expected.len(), "{} bytes of {}", read.len(), expected.len());
    if let Some(at) = read.iter().zip(expected).position(|(a, b)| a != b) {
        crate::fail!("byte {at} is {:#04x}, written was {:#04x}", read[at], expected[at]);
    }
    Ok(())
}

fn write_and_read_back(dir: &Path) -> Result<(), Failure> {
    for length in [0, 1, 4095, 4096, 4097, 131_072, 1_000_003] {
        let file = dir.join(format!("f{length}"));
        let bytes = noise(length);
        fs::write(&file, &bytes)?;
        same(&file, &bytes).when(format!("{length} bytes"))?;
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

fn append(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let mut expected = Vec::new();
    for round in 0..20_u8 {
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        // O_APPEND writes at the end wherever the offset stands.
        file.seek(SeekFrom::Start(0))?;
        let chunk = vec![round; 999];
        file.write_all(&chunk)?;
        expected.extend(chunk);
    }
    same(&path, &expected)
}

fn truncate(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let bytes = noise(10_000);
    fs::write(&path, &bytes)?;
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(5_001)?;
    same(&path, &bytes[..5_001]).when("shorter")?;
    file.set_len(9_000)?;
    // What was cut off must not come back.
    let mut longer = bytes[..5_001].to_vec();
    longer.resize(9_000, 0);
    same(&path, &longer).when("longer again")?;
    file.set_len(0)?;
    same(&path, &[]).when("empty")
}

fn open_truncates(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    fs::write(&path, noise(5_000))?;
    drop(OpenOptions::new().write(true).truncate(true).open(&path)?);
    same(&path, &[])
}

fn exclusive_create(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    drop(OpenOptions::new().write(true).create_new(true).open(&path)?);
    let again = OpenOptions::new().write(true).create_new(true).open(&path);
    expect_errno(again, libc::EEXIST, "O_EXCL on a file that is there")
}

fn sparse_file(dir: &Path) -> Result<(), Failure> {
    const END: u64 = 64 << 20;
    let path = dir.join("f");
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
    file.write_all_at(b"end", END)?;
    let metadata = file.metadata()?;
    require!(metadata.len() == END + 3, "size {}", metadata.len());
    require!(metadata.blocks() * 512 < END / 2, "a hole takes {} blocks", metadata.blocks());
    let mut hole = vec![1; 10_000];
    file.seek(SeekFrom::Start(END / 2))?;
    file.read_exact(&mut hole)?;
    require!(hole.iter().all(|&byte| byte == 0), "a hole does not read as zeros");
    Ok(())
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
    let mut file = File::open(&path)?;
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
        crate::sha256_hex(&written),
        crate::sha256_hex(&read)
    );
    Ok(())
}

/// A mapping that is unmapped on drop.
struct Mapping {
    start: NonNull<libc::c_void>,
    length: usize,
}

impl Mapping {
    fn of(file: &File, length: usize, flags: MapFlags) -> Result<Mapping, Failure> {
        let size = NonZeroUsize::new(length).ok_or_else(|| Failure::new("an empty mapping"))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping where the kernel likes; nobody else maps these pages here.
        let start = unsafe { mmap(None, size, protection, flags, file, 0) }.when("mmap")?;
        Ok(Mapping { start, length })
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is readable and writable, `length` long, and borrowed with `self`;
        // the file is not made shorter while it is mapped.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.length) }
    }

    fn sync(&self) -> Result<(), Failure> {
        // SAFETY: exactly the pages of this mapping.
        unsafe { msync(self.start, self.length, MsFlags::MS_SYNC) }.when("msync")
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the pages of this mapping, and no slice of it is alive.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

fn mapped_file(dir: &Path) -> Result<(std::path::PathBuf, File, Vec<u8>), Failure> {
    let path = dir.join("f");
    let bytes = noise(10_000);
    fs::write(&path, &bytes)?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    Ok((path, file, bytes))
}

fn mmap_shared(dir: &Path) -> Result<(), Failure> {
    let (path, file, mut bytes) = mapped_file(dir)?;
    let mut mapping = Mapping::of(&file, bytes.len(), MapFlags::MAP_SHARED)?;
    require!(mapping.bytes() == bytes.as_slice(), "the mapping shows other bytes than the file");
    mapping.bytes()[5_000..5_010].fill(0x5A);
    bytes[5_000..5_010].fill(0x5A);
    mapping.sync()?;
    same(&path, &bytes)
}

fn mmap_private(dir: &Path) -> Result<(), Failure> {
    let (path, file, bytes) = mapped_file(dir)?;
    let mut mapping = Mapping::of(&file, bytes.len(), MapFlags::MAP_PRIVATE)?;
    mapping.bytes()[100] ^= 0xFF;
    drop(mapping);
    same(&path, &bytes).when("a private mapping wrote through")
}

fn fsync(dir: &Path) -> Result<(), Failure> {
    let mut file = File::create(dir.join("f"))?;
    file.write_all(&noise(5_000))?;
    file.sync_all()?;
    file.sync_data()?;
    File::open(dir)?.sync_all().when("fsync of a directory")
}

fn unlink_while_open(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let bytes = noise(9_000);
    fs::write(&path, &bytes)?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    fs::remove_file(&path)?;
    require!(!path.exists(), "the name is still there");
    file.seek(SeekFrom::End(0))?;
    file.write_all(b"more")?;
    file.seek(SeekFrom::Start(0))?;
    let mut read = Vec::new();
    file.read_to_end(&mut read)?;
    require!(read[..9_000] == bytes && &read[9_000..] == b"more", "an open file lost its bytes");
    require!(file.metadata()?.nlink() == 0, "nlink {} after unlink", file.metadata()?.nlink());
    Ok(())
}

/// That `result` is the error `errno`.
pub(super) fn expect_errno<T>(
    result: std::io::Result<T>,
    errno: i32,
    what: &str,
) -> Result<(), Failure> {
    let name = |number: i32| nix::errno::Errno::from_raw(number).to_string();
    match result {
        Ok(_) => Err(Failure::new(format!("{what}: done, where {} is due", name(errno)))),
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => Err(Failure::new(format!("{what}: {error}, where {} is due", name(errno)))),
    }
}
