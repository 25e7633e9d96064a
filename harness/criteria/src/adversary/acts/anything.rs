//! Random requests of all kinds from a seed, on the adversary's own files, with the largest, the
//! smallest and ordinary parameters.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::thread;

use homes::filesystem::Mapping;
use homes::sequence::{Change, Model, Shape, apply, query};
use homes::torture::fuzz::Dice;
use machine::failure::{Failure, WithContext};
use machine::require;
use rustix::fs::{FallocateFlags, XattrFlags, fallocate, fsetxattr};
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Kind, MAX_DIM, MAX_K, Metric};

use super::changes::follow;
use crate::adversary::scene::{Scene, open_new};

const THREADS: u64 = 4;
const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];
/// Errors with which a home may refuse a request that is too large.
const REFUSED: &[i32] = &[libc::EINVAL, libc::ENOSPC, libc::ENOMEM];
/// At most this many components in a file, so that the adversary's own check keeps up.
const MOST: usize = 60_000;

/// Sends random requests until the adversary is killed.
pub fn at_random(scene: &mut Scene) -> Result<(), Failure> {
    scene.ready();
    let (seed, most) = (scene.order.seed, scene.sized(MOST, MOST / 8));
    let scene = &*scene;
    // A hand that finds a fault ends the whole process, as its panic would.
    thread::scope(|scope| {
        for number in 1..=THREADS {
            let dice = Dice::new(seed, number);
            scope.spawn(move || Hand { scene, number, dice, most, file: None, links: 0 }.works());
        }
    });
    Ok(())
}

/// One thread of the adversary.
struct Hand<'a> {
    scene: &'a Scene,
    number: u64,
    dice: Dice,
    most: usize,
    file: Option<Own>,
    links: u64,
}

/// A file of the adversary, with what it must hold.
struct Own {
    file: File,
    shape: Shape,
    /// The file's expected bytes, from which expected answers are computed by each slot's metric.
    model: Model,
    slots: Vec<(u32, Kind, Metric)>,
}

fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| REFUSED.contains(&errno))
}

impl Hand<'_> {
    /// Sends requests until one is answered wrongly; then prints the fault and ends the process. It
    /// does not wait for the other threads, whose requests may take long.
    fn works(mut self) {
        for step in 0_u64.. {
            if let Err(failure) = self.step() {
                println!("found: hand {}, step {step}: {failure}", self.number);
                std::process::exit(1);
            }
        }
    }

    fn says(&self, what: impl std::fmt::Display) {
        self.scene.says(format!("hand {}: {what}", self.number));
    }

    fn name(&self) -> std::path::PathBuf {
        self.scene.path(&format!("any-{}", self.number))
    }

    fn step(&mut self) -> Result<(), Failure> {
        let Some(mut own) = self.file.take() else { return self.new_file() };
        match self.dice.below(24) {
            0 => {
                self.says("unlink, the file being open");
                fs::remove_file(self.name()).context("unlink")?;
                return Ok(());
            }
            1 | 2 => self.attach(&mut own)?,
            3 => {
                if let Some((slot, kind, _)) = own.slots.pop() {
                    self.says(format!("DETACH of {kind:?}"));
                    detach(&own.file, slot).context("DETACH")?;
                }
            }
            4 => self.links()?,
            5 => {
                let size = self.dice.pick(&[0, 1, 4_000, 65_536]);
                let name = format!("user.{}", "n".repeat(self.dice.pick(&[1, 200, 250])));
                let set = fsetxattr(&own.file, &name, &vec![1; size], XattrFlags::empty());
                match set.map_err(io::Error::from) {
                    Err(error) if !is_refusal(&error) => return Err(error).context("setxattr"),
                    _ => {}
                }
            }
            6 => {
                self.says("fallocate");
                let length = 1 + self.dice.below(1 << 20);
                let flags = FallocateFlags::KEEP_SIZE;
                match fallocate(&own.file, flags, 0, length).map_err(io::Error::from) {
                    Err(error) if !is_refusal(&error) => return Err(error).context("fallocate"),
                    _ => {}
                }
            }
            7 => self.maps(&own)?,
            8..=13 => self.searches(&mut own)?,
            _ => self.changes(&mut own)?,
        }
        self.file = Some(own);
        Ok(())
    }

    fn new_file(&mut self) -> Result<(), Failure> {
        let dim = self.dice.pick(&[1, 2, 3, 16, 100, 1_024, MAX_DIM]) as usize;
        let shape = Shape { dim, most_rows: (self.most / dim).clamp(8, 4_500) };
        let file = match open_new(&self.name()) {
            Err(failure) if failure.errno() == Some(nix::errno::Errno::ENOSPC) => return Ok(()),
            file => file?,
        };
        let model = Model::new(dim, Metric::L2);
        self.file = Some(Own { file, shape, model, slots: Vec::new() });
        Ok(())
    }

    fn attach(&mut self, own: &mut Own) -> Result<(), Failure> {
        let kind = self.dice.pick(&Kind::ALL);
        let metric = self.dice.pick(&METRICS);
        let slot = self.dice.below(8) as u32;
        if own.slots.iter().any(|(used, ..)| *used == slot) {
            return Ok(());
        }
        let mut params = [0; 8];
        for param in &mut params[..3] {
            *param = self.dice.pick(&[0, 0, 0, 1, 2, 8, 64, 256]);
        }
        if self.dice.one_in(8) {
            params[self.dice.below(3) as usize] = self.dice.word();
        }
        let seed = self.dice.below(9);
        let dim = own.shape.dim as u32;
        let declaration = Declaration { dim, metric, kind, index: slot, seed, params };
        let rows = own.model.rows();
        let told =
            format!("ATTACH of {kind:?} by {metric:?} {:?}, {rows} rows of {dim}", &params[..3]);
        self.says(&told);
        match attach(&own.file, &declaration) {
            Ok(indexed) => {
                require!(
                    indexed == rows as u64,
                    "{told}: {indexed} rows are indexed, expected {rows}"
                );
                own.slots.push((slot, kind, metric));
            }
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error).context(told),
        }
        Ok(())
    }

    fn changes(&mut self, own: &mut Own) -> Result<(), Failure> {
        let change = Change::draw(&mut self.dice, own.shape, own.model.bytes().len());
        let rows = own.model.rows();
        let slots = &own.slots;
        let told = format!("{rows} rows of {} under {slots:?}, {change}", own.shape.dim);
        self.says(&told);
        let refused = match apply(&own.file, &change) {
            Ok(done) => !done,
            Err(failure) if failure.errno().is_some_and(|e| REFUSED.contains(&(e as i32))) => true,
            Err(failure) => return Err(failure.context(told)),
        };
        let finite = own.slots.is_empty() || follow(&mut own.model, &change);
        require!(refused || finite, "{told}: done, though a row of it is not finite");
        if refused || own.slots.is_empty() {
            // The home may have done a part of the change; the file shows which.
            self.learn(own)?;
        }
        Ok(())
    }

    /// Takes the file's bytes as the expected ones.
    fn learn(&mut self, own: &mut Own) -> Result<(), Failure> {
        let mut bytes = vec![0; usize::try_from(own.file.metadata()?.len())?];
        own.file.read_exact_at(&mut bytes, 0).context("read")?;
        own.model = Model::new(own.shape.dim, Metric::L2);
        if own.model.write(0, &bytes).is_none() {
            // A file without an index may hold any bytes. Start again with an empty one: finite
            // rows are of more use.
            require!(own.slots.is_empty(), "an indexed file holds a row that is not finite");
            own.file.set_len(0).context("truncate")?;
            own.model = Model::new(own.shape.dim, Metric::L2);
        }
        Ok(())
    }

    fn searches(&mut self, own: &mut Own) -> Result<(), Failure> {
        if own.slots.is_empty() {
            return self.attach(own);
        }
        let (slot, kind, metric) = self.dice.pick(&own.slots);
        let rows = own.model.rows();
        let told = format!("search of {kind:?} by {metric:?}, {rows} rows of {}", own.shape.dim);
        self.says(&told);
        let indexed = stats(&own.file, slot).context("STATS")?.rows;
        require!(indexed == rows as u64, "{told}: {indexed} rows are indexed, expected {rows}");
        let k = self.dice.pick(&[1, 10, MAX_K]);
        let effort = self.dice.pick(&[0, 1, 64, u32::MAX]);
        let mut searcher = Searcher::new(own.shape.dim as u32, k, slot)?.with_param(effort);
        let query = query(&mut self.dice, own.shape.dim);
        match searcher.search(&own.file, &query) {
            Ok(hits) => {
                let model = own.model.clone().by(metric);
                model.check(&query, k as usize, kind == Kind::Flat, hits).context(told)
            }
            Err(error) if is_refusal(&error) && effort > 1 => Ok(()),
            Err(error) => Err(error).context(told),
        }
    }

    /// Stores the bytes that are there already, through a mapping, in every other page.
    fn maps(&mut self, own: &Own) -> Result<(), Failure> {
        const PAGE: usize = 4096;
        let length = own.model.bytes().len();
        if length < PAGE {
            return Ok(());
        }
        self.says(format!("munmap of {} changed pages", length.div_ceil(2 * PAGE)));
        let mapping = Mapping::shared(&own.file, length).context("mmap")?;
        for at in (0..length).step_by(2 * PAGE) {
            mapping.store(at, &own.model.bytes()[at..at + 1]);
        }
        Ok(())
    }

    /// Makes a directory of symbolic links with long names, and sometimes removes it again.
    fn links(&mut self) -> Result<(), Failure> {
        let dir = self.scene.path(&format!("links-{}", self.number));
        let full = |result: io::Result<()>| match result {
            Err(error) if !is_refusal(&error) && error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error)
            }
            _ => Ok(()),
        };
        full(fs::create_dir_all(&dir)).context("mkdir")?;
        self.says("fifty symbolic links");
        for _ in 0..50 {
            self.links += 1;
            let name = format!("{:0>200}", self.links);
            let target = "t".repeat(self.dice.pick(&[1, 100, 4_095]));
            full(symlink(target, dir.join(name))).context("symlink")?;
        }
        if self.dice.one_in(3) {
            fs::remove_dir_all(&dir).context("removing links")?;
        }
        Ok(())
    }
}
