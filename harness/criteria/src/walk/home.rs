//! A home that is walked in, and what it tells: a mounted VexFS as it is.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Hit, Kind, Metric};

use super::apply::{Room, errno};
use super::draw::SLOTS;
use super::operation::Operation;
use super::outcome::Outcome;
use super::snapshot;

/// Something to walk in.
pub trait Walked {
    /// Its name in words.
    fn name(&self) -> String;
    /// Begins anew in an empty directory.
    fn begin(&mut self) -> io::Result<()>;
    /// Does a step.
    fn apply(&mut self, step: &Operation) -> Outcome;
    /// What a user can tell of it.
    fn snapshot(&mut self) -> Vec<String>;
}

/// A directory of a mount, in which each sequence has a directory of its own.
pub struct Rooms {
    directory: PathBuf,
    number: u64,
    room: Option<Room>,
}

impl Rooms {
    /// Below `directory`.
    pub fn new(directory: PathBuf) -> Rooms {
        Rooms { directory, number: 0, room: None }
    }

    /// A new room; the one before is removed.
    pub fn begin(&mut self) -> io::Result<()> {
        if let Some(before) = self.room.take() {
            let root = before.root().to_path_buf();
            drop(before);
            fs::remove_dir_all(root)?;
        }
        self.number += 1;
        self.room = Some(Room::new(self.directory.join(format!("walk-{}", self.number)))?);
        Ok(())
    }

    /// The room; there is one from [`Rooms::begin`] on.
    pub fn room(&mut self) -> &mut Room {
        self.room.as_mut().expect("a walk begins before it goes on")
    }
}

/// A mounted VexFS.
pub struct Mount {
    name: String,
    rooms: Rooms,
}

impl Mount {
    /// The home `name`, mounted on `directory`.
    pub fn new(name: &str, directory: PathBuf) -> Mount {
        Mount { name: name.to_owned(), rooms: Rooms::new(directory) }
    }
}

impl Walked for Mount {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.rooms.begin()
    }

    fn apply(&mut self, step: &Operation) -> Outcome {
        let room = self.rooms.room();
        if !is_request(step) {
            return room.apply(step);
        }
        let Some(target) = step.target() else { return Outcome::Refused(Errno::ENOSYS) };
        Outcome::told(room.file(target).and_then(|file| request(&file, step)))
    }

    fn snapshot(&mut self) -> Vec<String> {
        lines(self.rooms.room(), &mut |file, lines, shown| {
            for slot in 0..SLOTS {
                let line = stats(file, slot).and_then(|found| {
                    let query = probe(found.dim);
                    let mut searcher = Searcher::new(found.dim, PROBED, slot)?;
                    let hits = searcher.search(file, &query)?;
                    Ok(described(found.rows, found.dim, found.metric, found.kind, hits))
                });
                match line {
                    Ok(line) => lines.push(format!("{shown} index {slot}: {line}")),
                    Err(error)
                        if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EBADF)) => {}
                    Err(error) => lines.push(format!(
                        "{shown} index {slot}: {}",
                        Outcome::told(Err(error)).words()
                    )),
                }
            }
        })
    }
}

/// Neighbours that a snapshot asks for.
pub const PROBED: u32 = 3;

/// The query that a snapshot asks.
pub fn probe(dim: u32) -> Vec<f32> {
    vec![1.0; dim as usize]
}

/// An index in words.
pub fn described(rows: u64, dim: u32, metric: u32, kind: u32, hits: &[Hit]) -> String {
    format!("{rows} rows of {dim} by {metric}, kind {kind}, finds {}", in_words(hits))
}

/// Rows and the bits of their distances.
pub fn in_words(hits: &[Hit]) -> String {
    let told = |hit: &Hit| format!("{}:{:08x}", hit.row, hit.distance);
    hits.iter().map(told).collect::<Vec<_>>().join(" ")
}

/// The lines of a room.
pub fn lines(room: &Room, index: &mut dyn FnMut(&File, &mut Vec<String>, &str)) -> Vec<String> {
    let mut lines = snapshot::tree(room.root(), index);
    for (number, file) in room.descriptors() {
        lines.extend(snapshot::descriptor(number, file, index));
    }
    lines
}

/// Whether a step is one of the contract's requests.
pub fn is_request(step: &Operation) -> bool {
    matches!(step, Operation::Attach { .. } | Operation::Detach { .. } | Operation::Search { .. })
}

/// What ATTACH is to declare; none where metric or kind are no numbers of the contract's.
pub fn declaration(step: &Operation) -> Option<Declaration> {
    let Operation::Attach { index, dim, metric, kind, .. } = step else { return None };
    Some(Declaration {
        dim: *dim,
        metric: Metric::try_from(*metric).ok()?,
        kind: Kind::try_from(*kind).ok()?,
        index: *index,
        seed: 7,
        params: [0; 8],
    })
}

/// A query's components.
pub fn components(queries: &[i8]) -> Vec<f32> {
    queries.iter().map(|&value| f32::from(value)).collect()
}

fn request(file: &File, step: &Operation) -> io::Result<String> {
    match step {
        Operation::Detach { index, .. } => detach(file, *index).map(|()| String::new()),
        Operation::Search { index, dim, k, queries, .. } => {
            let mut told = Vec::new();
            let mut searcher = Searcher::new(*dim, *k, *index)?;
            searcher.search_batch(file, &components(queries), |hits| told.push(in_words(hits)))?;
            Ok(told.join(" / "))
        }
        _ => {
            let declaration = declaration(step).ok_or_else(|| errno(Errno::EINVAL))?;
            attach(file, &declaration).map(|rows| rows.to_string())
        }
    }
}
