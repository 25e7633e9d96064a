//! Makes contenders from their names.

use std::path::Path;

use criteria::declared::of_protocol;
use evidence::clock::Clock;
use evidence::competitor::Competitor;
use evidence::protocol::{Arm, PROTOCOL};
use homes::fuse::FuseMount;
use machine::clock;
use machine::failure::{Failure, WithContext};
use measure::contender::{
    Contender, ContenderProgram, Driver, DriverLimits, InProcess, STORES, Sides, Slowed, Stores,
    VexfsFile, building_order, draw_order, fill,
};
use measure::dataset::Dataset;
use serde_json::{Value, json};
use vexfs_uapi::Kind;

use super::named::Named;

/// A named contender, with the mount that it needs.
pub(super) struct NamedContender<'a> {
    named: &'a Named,
    mount: Option<FuseMount>,
}

impl<'a> NamedContender<'a> {
    pub(super) fn new(named: &'a Named) -> Result<Self, Failure> {
        let mount = match named {
            Named::Fuse(_) => Some(FuseMount::under_test()?),
            _ => None,
        };
        Ok(NamedContender { named, mount })
    }

    /// Makes an empty contender; `file` is its file name if it is a file.
    fn make(&self, file: &str) -> Result<Box<dyn Contender>, Failure> {
        let on = |name: &str, directory: &Path, kind| -> Result<Box<dyn Contender>, Failure> {
            Ok(Box::new(VexfsFile::create(name, &directory.join(file), of_protocol(kind)?)?))
        };
        match self.named {
            Named::Engine(kind) => Ok(Box::new(InProcess::new(&of_protocol(*kind)?)?)),
            Named::Fuse(kind) => {
                let mount = self.mount.as_ref().map(FuseMount::path);
                on("fuse", mount.unwrap_or(Path::new("/")), *kind)
            }
            Named::Directory(directory, kind) => on("vexfs", directory, *kind),
            Named::ChromaDb(..) | Named::Qdrant(_) => {
                let Some(program) = self.program() else {
                    machine::fail!("{:?} has no driver", self.named)
                };
                Ok(Box::new(Driver::start(&program, &PROTOCOL, DriverLimits::default())?))
            }
        }
    }

    /// The driver, if it is a competitor.
    pub(super) fn program(&self) -> Option<ContenderProgram> {
        match self.named {
            Named::ChromaDb(ef_search, url) => {
                let options = json!({ "ef_search": ef_search });
                Some(match url {
                    Some(url) => ContenderProgram::server(Competitor::Chromadb, url, options),
                    None => ContenderProgram::competitor(Competitor::Chromadb, options),
                })
            }
            Named::Qdrant(None) => {
                Some(ContenderProgram::competitor(Competitor::Qdrant, json!({})))
            }
            Named::Qdrant(Some(url)) => {
                Some(ContenderProgram::server(Competitor::Qdrant, url, json!({})))
            }
            _ => None,
        }
    }

    /// The kind of index, if it is a VexFS.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.named {
            Named::Engine(kind) | Named::Fuse(kind) | Named::Directory(_, kind) => Some(*kind),
            Named::ChromaDb(..) | Named::Qdrant(_) => None,
        }
    }

    /// Whether it can return its rows. The engine in process finds rows by searching, and only an
    /// exact index finds every row.
    pub(super) fn gives_rows_back(&self) -> bool {
        matches!(self.named, Named::Engine(Kind::Flat)) || !matches!(self.named, Named::Engine(_))
    }

    /// Whether a side has several stores to search in. A competitor has one, because it is a
    /// process; on the instruction clock one is enough, because a store's place in memory costs no
    /// instructions.
    fn has_many(&self) -> bool {
        self.kind().is_some() && clock::here().is_ok_and(|clock| clock == Clock::Wall)
    }

    pub(super) fn end(self) -> Result<(), Failure> {
        self.mount.map_or(Ok(()), FuseMount::unmount)
    }
}

/// Both contenders and A's copies. Each inserts into one store, and then searches in the stores
/// that it gets by [`Four::stock`]: several for a VexFS, the same one for a competitor.
pub(super) struct Four {
    pub(super) a: Stores<Box<dyn Contender>>,
    pub(super) b: Stores<Box<dyn Contender>>,
    pub(super) again: Stores<Box<dyn Contender>>,
    pub(super) slowed: Slowed<Stores<Box<dyn Contender>>>,
    copies_are_equal: bool,
}

impl Four {
    /// Makes one empty store for each side.
    pub(super) fn new(a: &NamedContender<'_>, b: &NamedContender<'_>) -> Result<Self, Failure> {
        let one = |named: &NamedContender<'_>, arm| {
            Stores::new(1, |number| named.make(&file_name(arm, number)))
        };
        Ok(Four {
            a: one(a, Arm::A)?,
            b: one(b, Arm::B)?,
            again: one(a, Arm::Again)?,
            slowed: Slowed::new(one(a, Arm::Slowed)?, PROTOCOL.dim),
            copies_are_equal: a.kind().is_some(),
        })
    }

    pub(super) fn sides(&mut self) -> Sides<'_> {
        let Four { a, b, again, slowed, copies_are_equal } = self;
        Sides { a, b, again, slowed, copies_are_equal: *copies_are_equal }
    }

    /// Each side's description of itself, in the order of [`Arm::ALL`].
    pub(super) fn describe(&mut self) -> Result<[Value; 4], Failure> {
        Ok([
            self.a.describe()?,
            self.b.describe()?,
            self.again.describe()?,
            self.slowed.describe()?,
        ])
    }

    /// Gives each side the stores that it searches in: in the first pass those that are still
    /// missing, in each further pass new ones.
    pub(super) fn stock(
        &mut self,
        a: &NamedContender<'_>,
        b: &NamedContender<'_>,
        pass: usize,
    ) -> Result<(), Failure> {
        let dataset = Dataset::of_protocol()?;
        let named = |arm| if arm == Arm::B { b } else { a };
        for arm in Arm::ALL {
            if pass > 0 && named(arm).has_many() {
                self.of(arm).clear();
            }
        }
        for number in 0..STORES {
            for arm in building_order(number, draw_order(pass)) {
                if named(arm).has_many() && self.of(arm).each().len() == number {
                    let mut store = named(arm).make(&file_name(arm, number))?;
                    fill(&mut store, dataset, &PROTOCOL).context(format!("{arm:?}"))?;
                    self.of(arm).add(store);
                }
            }
        }
        Ok(())
    }

    fn of(&mut self, arm: Arm) -> &mut Stores<Box<dyn Contender>> {
        match arm {
            Arm::A => &mut self.a,
            Arm::B => &mut self.b,
            Arm::Again => &mut self.again,
            Arm::Slowed => self.slowed.plain_mut(),
        }
    }
}

/// The file name of a store.
fn file_name(arm: Arm, number: usize) -> String {
    format!(".compare-{}-{number}.f32", format!("{arm:?}").to_lowercase())
}
