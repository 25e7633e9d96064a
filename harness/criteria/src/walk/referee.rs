//! The referee: a directory of tmpfs, and the engine in this process where tmpfs has no answer.
//!
//! The engine is given what a step has changed in a file's bytes, row by row: what was cut off, then
//! what was replaced, then what is new. A change that leaves a row out of range is taken back, and is
//! EINVAL.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use homes::sequence::{Change, InOrder, Way};
use nix::errno::Errno;
use rustix::fs::{Timespec, Timestamps, futimens};
use vexfs_uapi::client::Declaration;
use vexfs_uapi::{MAX_DIM, MAX_INDEXES, MAX_K};

use super::apply::errno;
use super::exceptions::{HOLES_OF_ALLOCATED, SEEKING_IN_DIRECTORIES};
use super::home::{
    PROBED, Rooms, Walked, components, declaration, described, in_words, is_request, lines, probe,
};
use super::operation::{Operation, Target};
use super::outcome::Outcome;

/// What components are smaller than (docs/contract.md).
const RANGE: f32 = 72_057_594_037_927_936.0;

/// An inode with indexes.
struct Indexed {
    /// Keeps the inode, and with it its number.
    file: File,
    slots: BTreeMap<u32, (Declaration, InOrder)>,
}

/// A directory with the engine beside it.
pub struct Referee {
    name: String,
    rooms: Rooms,
    indexed: HashMap<u64, Indexed>,
    /// Inodes of which holes are not to be asked, which are kept as well.
    allocated: HashMap<u64, File>,
    /// Whether searches leave out rows that an overwrite has changed: a liar's.
    pub forgets: bool,
}

impl Referee {
    /// In `directory`.
    pub fn new(name: &str, directory: PathBuf) -> Referee {
        Referee {
            name: name.to_owned(),
            rooms: Rooms::new(directory),
            indexed: HashMap::new(),
            allocated: HashMap::new(),
            forgets: false,
        }
    }

    /// Whether it has the file of a step, and may open it.
    #[cfg(test)]
    pub fn holds(&mut self, target: &Target) -> io::Result<()> {
        self.inode(target).map(drop)
    }

    fn inode(&mut self, target: &Target) -> io::Result<(u64, File)> {
        let file = self.rooms.room().file(target)?;
        Ok((file.metadata()?.ino(), file))
    }

    /// Answers a request in the order of the contract's table of refusals.
    fn request(&mut self, step: &Operation) -> io::Result<String> {
        let target = step.target().ok_or_else(|| errno(Errno::ENOSYS))?.clone();
        let (inode, file) = self.inode(&target)?;
        if file.metadata()?.is_dir() {
            return Err(errno(
                malformed(step).filter(|_| by_client(step)).unwrap_or(Errno::ENOTTY),
            ));
        }
        // The client refuses these by itself, before it asks.
        if let Some(wrong) = malformed(step).filter(|_| by_client(step)) {
            return Err(errno(wrong));
        }
        // SAFETY: F_GETFL of an open descriptor takes no argument.
        let access = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) } & libc::O_ACCMODE;
        let search = matches!(step, Operation::Search { .. });
        let lacking = if search { libc::O_WRONLY } else { libc::O_RDONLY };
        if access == lacking {
            return Err(errno(Errno::EBADF));
        }
        if let Some(wrong) = malformed(step) {
            return Err(errno(wrong));
        }
        match step {
            Operation::Detach { index, .. } => {
                let there = self.indexed.get_mut(&inode).and_then(|one| one.slots.remove(index));
                there.map(|_| String::new()).ok_or_else(|| errno(Errno::ENOENT))
            }
            Operation::Search { index, dim, k, queries, .. } => {
                let slot = self.indexed.get_mut(&inode).and_then(|one| one.slots.get_mut(index));
                let Some((declared, index)) = slot else { return Err(errno(Errno::ENOENT)) };
                if declared.dim != *dim {
                    return Err(errno(Errno::EINVAL));
                }
                let mut told = Vec::new();
                for query in components(queries).chunks(*dim as usize) {
                    told.push(in_words(&index.search(query, *k, 0).map_err(failed)?));
                }
                Ok(told.join(" / "))
            }
            _ => self.attach(inode, file, step),
        }
    }

    fn attach(&mut self, inode: u64, file: File, step: &Operation) -> io::Result<String> {
        let declared = declaration(step).ok_or_else(|| errno(Errno::EINVAL))?;
        let there = self.indexed.get(&inode);
        if there.is_some_and(|one| one.slots.contains_key(&declared.index)) {
            return Err(errno(Errno::EEXIST));
        }
        let file = readable(&file)?;
        let bytes = bytes(&file)?;
        if !in_range(&bytes, declared.dim) {
            return Err(errno(Errno::EINVAL));
        }
        let mut index = InOrder::new(&declared).map_err(failed)?;
        follow(&mut index, &bytes).map_err(failed)?;
        let rows = index.model.rows();
        let one = self.indexed.entry(inode).or_insert(Indexed { file, slots: BTreeMap::new() });
        one.slots.insert(declared.index, (declared, index));
        Ok(rows.to_string())
    }

    /// Gives the engine what a step has changed; false, and the bytes are as before, where a row is out
    /// of range.
    fn follow(&mut self, times: &HashMap<u64, Timestamps>) -> io::Result<bool> {
        for (inode, one) in &mut self.indexed {
            let now = bytes(&one.file)?;
            let Some((_, any)) = one.slots.values().next() else { continue };
            let before = any.model.bytes();
            if now == before {
                continue;
            }
            if !one.slots.values().all(|(declared, _)| in_range(&now, declared.dim)) {
                one.file.set_len(before.len() as u64)?;
                one.file.write_all_at(before, 0)?;
                if let Some(times) = times.get(inode) {
                    futimens(&one.file, times)?;
                }
                self.allocated.insert(*inode, one.file.try_clone()?);
                return Ok(false);
            }
            for (_, index) in one.slots.values_mut() {
                if self.forgets && now.len() == before_len(index) {
                    continue;
                }
                follow(index, &now).map_err(failed)?;
            }
        }
        Ok(true)
    }

    fn times(&self) -> io::Result<HashMap<u64, Timestamps>> {
        let each = self.indexed.iter().map(|(inode, one)| {
            let found = one.file.metadata()?;
            let time = |tv_sec, nsec: i64| Timespec { tv_sec, tv_nsec: nsec as _ };
            let times = Timestamps {
                last_access: time(found.atime(), found.atime_nsec()),
                last_modification: time(found.mtime(), found.mtime_nsec()),
            };
            Ok((*inode, times))
        });
        each.collect()
    }
}

impl Walked for Referee {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.indexed.clear();
        self.allocated.clear();
        self.rooms.begin()
    }

    fn apply(&mut self, step: &Operation) -> Outcome {
        if is_request(step) {
            return Outcome::told(self.request(step));
        }
        let (seeks, maps) = (
            matches!(step, Operation::Seek { .. }),
            matches!(step, Operation::Fallocate { .. } | Operation::Store { .. }),
        );
        if let (true, Some(target)) = (seeks || maps, step.target())
            && let Ok((inode, file)) = self.inode(&target.clone())
        {
            if seeks && file.metadata().is_ok_and(|found| found.is_dir()) {
                return Outcome::Free(SEEKING_IN_DIRECTORIES);
            }
            if seeks && self.allocated.contains_key(&inode) {
                return Outcome::Free(HOLES_OF_ALLOCATED);
            }
            if maps {
                self.allocated.insert(inode, file);
            }
        }
        let times = match self.times() {
            Ok(times) => times,
            Err(error) => return Outcome::told(Err(error)),
        };
        let outcome = self.rooms.room().apply(step);
        match self.follow(&times) {
            Ok(true) => outcome,
            Ok(false) => Outcome::Refused(Errno::EINVAL),
            Err(error) => Outcome::told(Err(error)),
        }
    }

    fn snapshot(&mut self) -> Vec<String> {
        let Referee { rooms, indexed, .. } = self;
        let room = rooms.room();
        lines(room, &mut |file, lines, shown| {
            // SAFETY: F_GETFL of an open descriptor takes no argument.
            let access = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) } & libc::O_ACCMODE;
            let Ok(metadata) = file.metadata() else { return };
            let Some(one) = indexed.get_mut(&metadata.ino()) else { return };
            if access == libc::O_WRONLY {
                return;
            }
            for (slot, (declared, index)) in &mut one.slots {
                let found = index.search(&probe(declared.dim), PROBED, 0).unwrap_or_default();
                let rows = index.model.rows() as u64;
                let (metric, kind) = (declared.metric as u32, declared.kind as u32);
                let line = described(rows, declared.dim, metric, kind, &found);
                lines.push(format!("{shown} index {slot}: {line}"));
            }
        })
    }
}

fn before_len(index: &InOrder) -> usize {
    index.model.bytes().len()
}

/// A descriptor of the same inode that can be read and written.
fn readable(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).custom_flags(libc::O_NOATIME).open(path)
}

fn bytes(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn in_range(bytes: &[u8], dim: u32) -> bool {
    let row = dim as usize * size_of::<f32>();
    let rows = &bytes[..bytes.len() / row * row];
    rows.as_chunks().0.iter().all(|bytes| f32::from_le_bytes(*bytes).abs() < RANGE)
}

/// Brings an index from the bytes that it knows to those that are there now.
fn follow(index: &mut InOrder, now: &[u8]) -> Result<(), machine::failure::Failure> {
    if now.len() < index.model.bytes().len() {
        index.change(&Change::SetLen(now.len()))?;
    }
    let before = index.model.bytes();
    let same = before.iter().zip(now).take_while(|(a, b)| a == b).count();
    if same == now.len() {
        return Ok(());
    }
    let end = if now.len() > before.len() {
        now.len()
    } else {
        (same..now.len()).rev().find(|&n| before[n] != now[n]).map_or(now.len(), |n| n + 1)
    };
    let bytes = now[same..end].to_vec();
    index.change(&Change::Write { at: same, bytes, way: Way::Whole })?;
    Ok(())
}

fn failed(failure: machine::failure::Failure) -> io::Error {
    io::Error::other(failure.to_string())
}

/// Whether the client of the contract refuses what is malformed in it before it asks a home.
fn by_client(step: &Operation) -> bool {
    matches!(step, Operation::Search { .. })
}

/// EINVAL where a request's own fields are wrong.
fn malformed(step: &Operation) -> Option<Errno> {
    let good = match step {
        Operation::Attach { index, dim, .. } => {
            *index < MAX_INDEXES && (1..=MAX_DIM).contains(dim) && declaration(step).is_some()
        }
        Operation::Detach { index, .. } => *index < MAX_INDEXES,
        Operation::Search { index, dim, k, .. } => {
            *index < MAX_INDEXES && (1..=MAX_DIM).contains(dim) && (1..=MAX_K).contains(k)
        }
        _ => true,
    };
    (!good).then_some(Errno::EINVAL)
}
