//! Work, in steps, that makes a home allocate memory wherever it can. A step that fails for lack of
//! memory must change nothing, so that it can be repeated.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use measure::dataset;
use nix::fcntl::{FallocateFlags, fallocate};
use rustix::fs::{XattrFlags, setxattr};
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};

use super::mapped::Mapping;

const DIM: usize = 32;
/// Bytes in a row.
const ROW: usize = DIM * size_of::<f32>();
/// Rows that exist when indexes are attached, and rows in the end. PQ and IVF are trained with the
/// first ones, and graphs grow with the others.
const FIRST: usize = 72;
const ALL: usize = 100;
const K: u32 = 4;
/// The row that is overwritten, and the row that is written through a mapping, which is indexed
/// again with the few rows on its page.
const OVERWRITTEN: usize = 3;
const MAPPED: usize = 98;
const PAGE: usize = 4096;

/// The parameters of each kind, small so that a pass is quick in an emulated guest.
const fn params(kind: Kind) -> [u32; 8] {
    match kind {
        Kind::Flat => [0; 8],
        // Links per node, and efConstruction.
        Kind::Hnsw => [4, 12, 0, 0, 0, 0, 0, 0],
        // Subvectors, and bits per code.
        Kind::Pq => [4, 4, 0, 0, 0, 0, 0, 0],
        // Lists, and nprobe, which covers all of them.
        Kind::Ivf => [4, 4, 0, 0, 0, 0, 0, 0],
        // Bits of a hash.
        Kind::Lsh => [64, 0, 0, 0, 0, 0, 0, 0],
    }
}

/// Row `number`. Its components are small whole numbers, so that every distance is exact.
fn row(number: usize) -> [f32; DIM] {
    std::array::from_fn(|component| match component {
        0 => number as f32,
        _ => ((number + 1) * (component + 3) % 17) as f32,
    })
}

/// A tree on a mount, and its expected content.
pub struct Work {
    directory: PathBuf,
    /// The vector file, once it exists.
    file: Option<File>,
    /// Its rows as they were written.
    rows: Vec<[f32; DIM]>,
    /// Slots that have an index.
    slots: Vec<u32>,
}

/// A step of the work.
pub type Step = (&'static str, fn(&mut Work) -> io::Result<()>);

/// All steps, in order.
pub const STEPS: &[Step] = &[
    ("mkdir", |work| fs::create_dir(&work.directory)),
    ("symlink", |work| symlink("x".repeat(200), work.path("symlink"))),
    ("create", Work::create),
    ("write", |work| work.append(FIRST)),
    ("attach Flat", |work| work.attach(0)),
    ("attach HNSW", |work| work.attach(1)),
    ("attach PQ", |work| work.attach(2)),
    ("attach IVF", |work| work.attach(3)),
    ("attach LSH", |work| work.attach(4)),
    ("append", |work| work.append(ALL)),
    ("overwrite", Work::overwrite),
    ("store and msync", Work::store),
    ("search Flat", |work| work.search(0)),
    ("search HNSW", |work| work.search(1)),
    ("search PQ", |work| work.search(2)),
    ("search IVF", |work| work.search(3)),
    ("search LSH", |work| work.search(4)),
    ("search a batch", Work::search_batch),
    ("setxattr", |work| work.set_attribute(100)),
    ("setxattr, longer", |work| work.set_attribute(10_000)),
    ("fallocate", Work::allocate),
    ("punch a hole", Work::punch),
    ("truncate", |work| work.resize(FIRST + 1)),
    ("extend", |work| work.resize(ALL)),
    ("link", |work| fs::hard_link(work.path("base"), work.path("link"))),
    ("rename", |work| fs::rename(work.path("link"), work.path("renamed"))),
    ("detach", Work::detach),
    ("attach again", |work| work.attach(2)),
    ("unlink", |work| fs::remove_file(work.path("renamed"))),
];

impl Work {
    /// Work on the file system mounted at `mount`, of which nothing has been done yet.
    pub fn new(mount: &Path) -> Work {
        Work { directory: mount.join("work"), file: None, rows: Vec::new(), slots: Vec::new() }
    }

    /// Checks that all work so far is there: the file's bytes, each of its indexes, and what these
    /// find. A write that failed may have been done in part.
    pub fn check(&self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        let bytes = uncached::read(self.path("base")).context("reading")?;
        let kept = bytes.get(..self.rows.len() * ROW);
        require!(kept == Some(dataset::bytes(self.rows.as_flattened())), "rows are lost");
        for &slot in &self.slots {
            let indexed = stats(file, slot).context("STATS")?.rows as usize;
            let there = bytes.len() / ROW;
            require!(
                indexed == there,
                "{indexed} rows are indexed in slot {slot}, the file has {there}"
            );
            for number in [0, self.rows.len() - 1] {
                self.expect(slot, number)?;
            }
        }
        Ok(())
    }

    /// Checks that everything is there at the end.
    pub fn check_end(&self) -> Result<(), Failure> {
        self.check()?;
        let length = fs::metadata(self.path("base"))?.len();
        require!(length == (ALL * ROW) as u64, "the file has {length} bytes");
        require!(self.slots.len() == Kind::ALL.len(), "only slots {:?} have an index", self.slots);
        for &slot in &self.slots {
            for number in [OVERWRITTEN, FIRST] {
                self.expect(slot, number)?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The vector file; steps that use it come after "create".
    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Checks that row `number` is its own nearest neighbour, and that reported distances are
    /// right.
    fn expect(&self, slot: u32, number: usize) -> Result<(), Failure> {
        let what = || format!("{:?} of row {number}", Kind::ALL[slot as usize]);
        let query = self.rows[number];
        let mut searcher = Searcher::new(DIM as u32, K, slot)?;
        let hits = searcher.search(self.file()?, &query).context(what())?;
        require!(hits.len() == K as usize, "{}: {} hits, expected {K}", what(), hits.len());
        for hit in hits {
            let Some(row) = self.rows.get(hit.row as usize) else { continue };
            let due: f32 = row.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum();
            require!(
                due.to_bits() == hit.distance,
                "{}: {hit:?}, expected the distance {due}",
                what()
            );
        }
        require!(
            hits[0].distance == 0,
            "{}: the row is not its own nearest neighbour: {hits:?}",
            what()
        );
        Ok(())
    }

    fn create(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let path = self.path("base");
        self.file = Some(options.read(true).write(true).create_new(true).open(path)?);
        Ok(())
    }

    fn append(&mut self, until: usize) -> io::Result<()> {
        let rows: Vec<_> = (self.rows.len()..until).map(row).collect();
        let offset = (self.rows.len() * ROW) as u64;
        self.file()?.write_all_at(dataset::bytes(rows.as_flattened()), offset)?;
        self.rows.extend(rows);
        Ok(())
    }

    fn overwrite(&mut self) -> io::Result<()> {
        let new = row(ALL + 1);
        self.file()?.write_all_at(dataset::bytes(&new), (OVERWRITTEN * ROW) as u64)?;
        self.rows[OVERWRITTEN] = new;
        Ok(())
    }

    /// The bytes change with the store, and the index with the msync that succeeds.
    fn store(&mut self) -> io::Result<()> {
        let other = |failure: Failure| io::Error::other(failure.to_string());
        let mapping = Mapping::shared(self.file()?, ALL * ROW).map_err(other)?;
        let new = row(ALL + 2);
        mapping.store(MAPPED * ROW, dataset::bytes(&new));
        self.rows[MAPPED] = new;
        mapping.sync()
    }

    fn attach(&mut self, slot: u32) -> io::Result<()> {
        let kind = Kind::ALL[slot as usize];
        let params = params(kind);
        let declaration =
            Declaration { kind, index: slot, params, ..Declaration::flat(DIM as u32) };
        attach(self.file()?, &declaration)?;
        self.slots.push(slot);
        Ok(())
    }

    fn detach(&mut self) -> io::Result<()> {
        detach(self.file()?, 2)?;
        self.slots.retain(|&slot| slot != 2);
        Ok(())
    }

    fn search(&mut self, slot: u32) -> io::Result<()> {
        let mut searcher = Searcher::new(DIM as u32, K, slot)?;
        let nearest = searcher.search(self.file()?, &self.rows[MAPPED])?[0];
        if nearest.row != MAPPED as u64 || nearest.distance != 0 {
            return Err(io::Error::other(format!(
                "row {MAPPED} is not its own nearest neighbour: {nearest:?}"
            )));
        }
        Ok(())
    }

    fn search_batch(&mut self) -> io::Result<()> {
        let mut searcher = Searcher::new(DIM as u32, K, 0)?;
        let queries = self.rows[..50].as_flattened();
        searcher.search_batch(self.file()?, queries, |_| ())
    }

    fn set_attribute(&mut self, length: usize) -> io::Result<()> {
        let value = vec![7; length];
        Ok(setxattr(self.path("base"), "user.a", &value, XattrFlags::empty())?)
    }

    /// Allocates room beyond the end of the file, which keeps its size.
    fn allocate(&mut self) -> io::Result<()> {
        let size = 2 * ALL * ROW;
        let mode = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(self.file()?, mode, 0, size.cast_signed() as i64)?)
    }

    /// The second page becomes rows of zeros. A hole that is interrupted ends early, at the end of
    /// a row.
    fn punch(&mut self) -> io::Result<()> {
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let punched = fallocate(self.file()?, mode, PAGE as i64, PAGE as i64);
        let mut done = PAGE / ROW;
        if punched.is_err() {
            let bytes = uncached::read(self.path("base"))?;
            let page = bytes.get(PAGE..2 * PAGE).unwrap_or_default();
            done = page.chunks_exact(ROW).take_while(|row| row.iter().all(|&b| b == 0)).count();
        }
        self.rows[PAGE / ROW..][..done].fill([0.0; DIM]);
        Ok(punched?)
    }

    /// Rows that are added by this are zeros.
    fn resize(&mut self, rows: usize) -> io::Result<()> {
        self.file()?.set_len((rows * ROW) as u64)?;
        self.rows.resize(rows, [0.0; DIM]);
        Ok(())
    }
}
