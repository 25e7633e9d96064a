//! The files that the fuzzer sends requests to, and the changes that it makes to them meanwhile.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use machine::failure::{Failure, WithContext};
use machine::require;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::fstatvfs;

use super::dice::Dice;
use super::request::{Access, DIMS, Target};

/// The largest size of a file. With indexes of only a few dozen rows, most of a run is requests.
pub const LARGEST: u64 = 1024;

/// A vector file, opened with each kind of access.
struct Vectors {
    both: File,
    read: File,
    write: File,
}

/// The files of a run.
pub struct Files {
    vectors: Vec<Vectors>,
    directory: File,
    stranger: File,
    /// Takes up the mount's free room, so that indexes find none.
    ballast: File,
    paths: Vec<PathBuf>,
}

impl Files {
    /// Makes the files on the mount.
    pub fn new(mount: &Path) -> Result<Files, Failure> {
        let mut files = Files {
            vectors: Vec::new(),
            directory: File::open(mount)?,
            stranger: tempfile::tempfile()?,
            ballast: File::create_new(mount.join("ballast"))?,
            paths: vec![mount.join("ballast")],
        };
        for (number, dim) in DIMS.into_iter().enumerate() {
            let path = mount.join(format!("{number}.f32"));
            let both = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            let read = File::open(&path)?;
            let write = OpenOptions::new().write(true).open(&path)?;
            both.set_len(LARGEST / 2 / u64::from(dim * 4) * u64::from(dim * 4))?;
            files.vectors.push(Vectors { both, read, write });
            files.paths.push(path);
        }
        if let Some(last) = files.paths.pop() {
            fs::remove_file(last).context("unlinking an open file")?;
        }
        Ok(files)
    }

    /// The descriptor of `target`.
    pub fn descriptor(&self, target: Target) -> i32 {
        let file = match target {
            Target::File(number, access) => match access {
                Access::Both => &self.vectors[number].both,
                Access::Read => &self.vectors[number].read,
                Access::Write => &self.vectors[number].write,
            },
            Target::Directory => &self.directory,
            Target::Stranger => &self.stranger,
        };
        file.as_raw_fd()
    }

    /// Makes a random change to a file; returns its name and its result.
    pub fn disturb(&self, dice: &mut Dice) -> (&'static str, Result<(), Errno>) {
        let number = dice.below(DIMS.len() as u64) as usize;
        let file = &self.vectors[number].both;
        let row = u64::from(DIMS[number]) * 4;
        match dice.below(16) {
            0..6 => {
                let at = dice.below(LARGEST / row) * row;
                let mut row: Vec<f32> = (0..DIMS[number]).map(|_| dice.component()).collect();
                if dice.one_in(32) {
                    row[0] = f32::NAN;
                }
                let bytes: Vec<u8> = row.iter().flat_map(|one| one.to_le_bytes()).collect();
                ("write of a row", outcome(file.write_all_at(&bytes, at)))
            }
            6..9 => {
                // Begins and ends within rows; a float of these bytes is small and finite.
                let bytes = vec![0x41; 1 + dice.below(200) as usize];
                let at = dice.below(LARGEST - bytes.len() as u64);
                ("write of any bytes", outcome(file.write_all_at(&bytes, at)))
            }
            9..12 => ("truncate", outcome(file.set_len(dice.below(LARGEST)))),
            12 => {
                let flags =
                    FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                let (at, length) = (dice.below(LARGEST), 1 + dice.below(LARGEST));
                ("punch", fallocate(file, flags, at as i64, length as i64))
            }
            13 => ("fsync", outcome(file.sync_data())),
            14 => ("filling the mount", self.fill(dice)),
            _ => ("making room", outcome(self.ballast.set_len(0))),
        }
    }

    /// Takes all room except for a few pages, if any.
    fn fill(&self, dice: &mut Dice) -> Result<(), Errno> {
        let stat = fstatvfs(&self.ballast)?;
        let length = stat.blocks_available().saturating_sub(dice.below(16)) * stat.fragment_size();
        if length == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::empty();
        let end = self.ballast.metadata().map_err(|error| errno(&error))?.len();
        fallocate(&self.ballast, flags, end as i64, length as i64)
    }

    /// Checks that statfs(2) reports the mounted `size`, and no more than that as free; returns the
    /// free bytes.
    pub fn check_capacity(&self, size: u64) -> Result<u64, Failure> {
        let stat = fstatvfs(&self.directory)?;
        let free = stat.blocks_free() * stat.fragment_size();
        let total = stat.blocks() * stat.fragment_size();
        require!(total == size, "statfs(2) reports {total} bytes for a mount of {size}");
        require!(free <= size, "statfs(2) reports {free} bytes free of {size}");
        Ok(free)
    }

    /// Removes the files; their last descriptors are closed with `self`.
    pub fn remove(self) -> Result<(), Failure> {
        for path in &self.paths {
            fs::remove_file(path).context(path.display())?;
        }
        Ok(())
    }
}

/// Whether this result of a change is acceptable: success, a row that is not finite in an indexed
/// file, or no room.
pub fn is_due(outcome: Result<(), Errno>) -> bool {
    matches!(outcome, Ok(()) | Err(Errno::EINVAL | Errno::ENOSPC))
}

fn outcome(result: std::io::Result<()>) -> Result<(), Errno> {
    result.map_err(|error| errno(&error))
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}
