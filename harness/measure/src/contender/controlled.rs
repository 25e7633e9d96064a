//! Vector files, and the copies of them that are a measurement's controls.

use std::path::Path;
use std::time::Duration;

use evidence::protocol::Arm;
use machine::failure::Failure;
use vexfs_uapi::Home;
use vexfs_uapi::client::Declaration;

use super::interface::Contender;
use super::replicas::Replicas;
use super::rounds::sides::Sides;
use super::slowed::Slowed;
use super::stores::{Stock, Stores};
use super::vexfs_file::VexfsFile;
use crate::home;
use crate::rounds::nanoseconds;

/// A side of a measurement with its controls.
pub struct Controlled<C, S> {
    /// What is measured.
    pub measured: C,
    again: C,
    slowed: S,
}

/// Empty files to insert into.
pub type Insertable = Controlled<Replicas<VexfsFile>, Replicas<Slowed<VexfsFile>>>;
/// Files to search in; each side has files of its own, except that both copies may share one.
pub type Searchable = Controlled<Stores<VexfsFile>, Slowed<Stores<VexfsFile>>>;

impl Insertable {
    /// Creates the files of each side in `directory`; they are removed on drop.
    pub fn create(home: Home, directory: &Path, declaration: Declaration) -> Result<Self, Failure> {
        let dim = declaration.dim as usize;
        let again = insertable(home, directory, "again", declaration)?;
        let slowed = Replicas::new(|number| {
            let path = directory.join(format!("slowed-{number}.f32"));
            Ok(Slowed::new(VexfsFile::create(home::name(home), &path, declaration)?, dim))
        })?;
        let measured = insertable(home, directory, "base", declaration)?;
        Ok(Controlled { measured, again, slowed })
    }
}

impl Insertable {
    /// Nanoseconds of each batch in each file, for A, its copy and its slowed copy. The rounds hold
    /// the means over the files.
    pub fn single_ns(&self) -> [Vec<Vec<u64>>; 3] {
        let of =
            |batches: &[Vec<Duration>]| batches.iter().map(|batch| nanoseconds(batch)).collect();
        [of(self.measured.single()), of(self.again.single()), of(self.slowed.single())]
    }
}

/// Creates the empty files of a side in `directory`, named `file` and a number.
pub fn insertable(
    home: Home,
    directory: &Path,
    file: &str,
    declaration: Declaration,
) -> Result<Replicas<VexfsFile>, Failure> {
    Replicas::new(|number| {
        VexfsFile::create(
            home::name(home),
            &directory.join(format!("{file}-{number}.f32")),
            declaration,
        )
    })
}

/// Creates the empty files of a side to search in, in `directory`, named `file` and a number.
pub fn searchable(
    home: Home,
    directory: &Path,
    file: &str,
    declaration: Declaration,
    stock: Stock,
) -> Result<Stores<VexfsFile>, Failure> {
    Stores::new(stock.a_side(), |number| {
        VexfsFile::create(
            home::name(home),
            &directory.join(format!("{file}-{number}.f32")),
            declaration,
        )
    })
}

/// The stores of a side, and how many sides search in them.
pub struct AskedStores<'a> {
    /// The name of the side.
    pub whose: &'static str,
    /// The stores.
    pub files: &'a [VexfsFile],
    /// How many sides search in them.
    pub sides: u64,
}

impl Searchable {
    /// Creates the empty files of A and of its copies in `directory`; they are removed on drop.
    pub fn create(
        home: Home,
        directory: &Path,
        declaration: Declaration,
        stock: Stock,
    ) -> Result<Self, Failure> {
        let files = |file| searchable(home, directory, file, declaration, stock);
        let (measured, again) = (files("searched")?, files("searched-again")?);
        let slowed = match stock {
            Stock::OneOfBothCopies => Stores::new(1, |number| again.each()[number].reopen())?,
            Stock::One | Stock::Many => files("searched-slowed")?,
        };
        let slowed = Slowed::new(slowed, declaration.dim as usize);
        Ok(Controlled { measured, again, slowed })
    }

    /// The stores that must be filled, by the numbers of [`Arm::ALL`].
    pub fn to_fill(&mut self) -> [Option<&mut Stores<VexfsFile>>; Arm::ALL.len()] {
        let Controlled { measured, again, slowed } = self;
        let shared = share(again, slowed.plain());
        [Some(measured), None, Some(again), (!shared).then(|| slowed.plain_mut())]
    }

    /// Which sides search in which stores.
    pub fn asked(&self) -> Vec<AskedStores<'_>> {
        let Controlled { measured, again, slowed } = self;
        let shared = share(again, slowed.plain());
        let mut all = vec![
            AskedStores { whose: "A", files: measured.each(), sides: 1 },
            AskedStores { whose: "its copy", files: again.each(), sides: 1 + u64::from(shared) },
        ];
        if !shared {
            all.push(AskedStores {
                whose: "its slowed copy",
                files: slowed.plain().each(),
                sides: 1,
            });
        }
        all
    }
}

fn share(one: &Stores<VexfsFile>, other: &Stores<VexfsFile>) -> bool {
    one.each().iter().zip(other.each()).any(|(one, other)| one.path() == other.path())
}

impl<C: Contender, S: Contender> Controlled<C, S> {
    /// The sides of a measurement that compares this with `b`.
    pub fn against<'a>(&'a mut self, b: &'a mut dyn Contender) -> Sides<'a> {
        let Controlled { measured, again, slowed } = self;
        Sides { a: measured, b, again, slowed, copies_are_equal: true }
    }
}
