//! Does a step in a directory of any file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use homes::filesystem::Mapping;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use rustix::fs::{
    AtFlags, CWD, RenameFlags, Timespec, Timestamps, XattrFlags, fgetxattr, fremovexattr,
    fsetxattr, linkat, renameat_with,
};

use super::draw::DESCRIPTORS;
use super::operation::{Operation, Target};
use super::outcome::Outcome;

/// A directory that is walked in, and what is open there.
pub struct Room {
    root: PathBuf,
    open: [Option<File>; DESCRIPTORS],
}

impl Room {
    /// An empty directory, which is made.
    pub fn new(root: PathBuf) -> io::Result<Room> {
        fs::DirBuilder::new().mode(0o755).create(&root)?;
        Ok(Room { root, open: [const { None }; DESCRIPTORS] })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The descriptors that are open, and their numbers.
    pub fn descriptors(&self) -> impl Iterator<Item = (usize, &File)> {
        self.open.iter().enumerate().filter_map(|(n, file)| Some((n, file.as_ref()?)))
    }

    /// The file of a step: opened for both by its path, a directory for reading.
    pub fn file(&self, target: &Target) -> io::Result<File> {
        match target {
            Target::Open(number) => {
                self.open[*number].as_ref().ok_or_else(|| errno(Errno::EBADF))?.try_clone()
            }
            Target::Path(path) => {
                let path = self.root.join(path);
                match both(&path) {
                    Err(error) if error.raw_os_error() == Some(libc::EISDIR) => {
                        let mut how = OpenOptions::new();
                        how.read(true).custom_flags(libc::O_NOATIME | libc::O_DIRECTORY);
                        how.open(path)
                    }
                    outcome => outcome,
                }
            }
        }
    }

    /// Does a step of an ordinary file system; those of the contract are the home's.
    pub fn apply(&mut self, step: &Operation) -> Outcome {
        let at = |path: &String| self.root.join(path);
        match step {
            Operation::Open { number, path, how, mode } => {
                let opened = open(&at(path), how, *mode);
                Outcome::of(opened.map(|file| self.open[*number] = Some(file)))
            }
            Operation::Close { number } => {
                let there = self.open[*number].take();
                Outcome::of(there.map(drop).ok_or_else(|| errno(Errno::EBADF)))
            }
            Operation::Mkdir { path, mode } => {
                Outcome::of(fs::DirBuilder::new().mode(*mode).create(at(path)))
            }
            Operation::Rmdir { path } => Outcome::of(fs::remove_dir(at(path))),
            Operation::Unlink { path } => Outcome::of(fs::remove_file(at(path))),
            Operation::Symlink { target, path } => Outcome::of(symlink(target, at(path))),
            Operation::Readlink { path } => {
                Outcome::told(fs::read_link(at(path)).map(|target| target.display().to_string()))
            }
            Operation::Link { path, to } => {
                let flags = AtFlags::empty();
                Outcome::of(linkat(CWD, at(path), CWD, at(to), flags).map_err(Into::into))
            }
            Operation::Rename { path, to, flags } => {
                let flags = RenameFlags::from_bits_retain(*flags);
                Outcome::of(renameat_with(CWD, at(path), CWD, at(to), flags).map_err(Into::into))
            }
            Operation::Append { target: Target::Path(path), data } => {
                let mut how = OpenOptions::new();
                let file = how.append(true).custom_flags(libc::O_NOATIME).open(at(path));
                Outcome::told(file.and_then(|file| {
                    let done = nix::unistd::write(&file, &data.bytes())?;
                    Ok(done.to_string())
                }))
            }
            _ => match step.target() {
                Some(target) => {
                    Outcome::told(self.file(target).and_then(|file| on_file(&file, step)))
                }
                None => Outcome::Refused(Errno::ENOSYS),
            },
        }
    }
}

/// The error of an errno.
pub fn errno(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno as i32)
}

fn both(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOATIME).open(path)
}

fn open(path: &Path, how: &str, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.mode(mode).custom_flags(libc::O_NOATIME);
    match how {
        "read" => options.read(true),
        "write" => options.write(true),
        "append" => options.read(true).append(true),
        "truncate" => options.read(true).write(true).truncate(true),
        "create" => options.read(true).write(true).create(true),
        "exclusive" => options.read(true).write(true).create_new(true),
        _ => options.read(true).write(true),
    };
    options.open(path)
}

/// A step on an open file, and what it tells.
fn on_file(file: &File, step: &Operation) -> io::Result<String> {
    let done = String::new();
    match step {
        Operation::Write { at, data, .. } => {
            let written = nix::sys::uio::pwrite(file, &data.bytes(), *at)?;
            return Ok(written.to_string());
        }
        Operation::Append { data, .. } => {
            let end = file.metadata()?.len() as i64;
            let written = nix::sys::uio::pwrite(file, &data.bytes(), end)?;
            return Ok(written.to_string());
        }
        Operation::Read { at, length, .. } => {
            let mut bytes = vec![0; *length];
            let read = file.read_at(&mut bytes, *at as u64)?;
            return Ok(format!("{read} {}", &evidence::digest::sha256(&bytes[..read])[..16]));
        }
        Operation::Truncate { length, .. } => nix::unistd::ftruncate(file, *length)?,
        Operation::Fallocate { mode, at, length, .. } => {
            fallocate(file, FallocateFlags::from_bits_retain(*mode), *at, *length)?;
        }
        Operation::Seek { at, hole, .. } => {
            use nix::unistd::{Whence, lseek};
            let found = lseek(file, *at, if *hole { Whence::SeekHole } else { Whence::SeekData })?;
            return Ok(found.to_string());
        }
        Operation::Store { at, byte, length, .. } => store(file, *at, *byte, *length)?,
        Operation::Chmod { mode, .. } => {
            nix::sys::stat::fchmod(file, nix::sys::stat::Mode::from_bits_retain(*mode))?;
        }
        Operation::Chown { uid, gid, .. } => {
            let given = |id: u32| (id != u32::MAX).then_some(id);
            fchown(file, given(*uid), given(*gid))?;
        }
        Operation::Utimens { accessed, modified, .. } => {
            let time = |seconds: i64| Timespec { tv_sec: seconds, tv_nsec: 7 };
            let times =
                Timestamps { last_access: time(*accessed), last_modification: time(*modified) };
            rustix::fs::futimens(file, &times)?;
        }
        Operation::SetXattr { name, length, flags, .. } => {
            let flags = XattrFlags::from_bits_retain(*flags);
            fsetxattr(file, name.as_str(), &vec![b'v'; *length], flags)?;
        }
        Operation::GetXattr { name, .. } => {
            return Ok(fgetxattr(file, name.as_str(), &mut [0_u8; 4_096][..])?.to_string());
        }
        Operation::RemoveXattr { name, .. } => fremovexattr(file, name.as_str())?,
        _ => return Err(errno(Errno::ENOSYS)),
    }
    Ok(done)
}

/// Within the file alone: what is stored behind its end is a signal, or nothing.
fn store(file: &File, at: usize, byte: u8, length: usize) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(errno(Errno::EISDIR));
    }
    // SAFETY: F_GETFL of an open descriptor takes no argument.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags & libc::O_ACCMODE != libc::O_RDWR {
        return Err(errno(Errno::EACCES));
    }
    if at + length > metadata.len() as usize {
        return Err(errno(Errno::ENXIO));
    }
    let failed = |failure: machine::failure::Failure| errno(failure.errno().unwrap_or(Errno::EIO));
    let mapping = Mapping::shared(file, metadata.len() as usize).map_err(failed)?;
    mapping.store(at, &vec![byte; length]);
    mapping.sync()
}
