//! Contenders that are made of their names.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use criteria::declared::of_protocol;
use evidence::protocol::PROTOCOL;
use homes::fuse::FuseMount;
use machine::failure::Failure;
use measure::contender::{
    Answers, Contender, Driver, InProcess, Insertion, Limits, Program, Sides, Slowed, VexfsFile,
};
use serde_json::{Value, json};
use vexfs_uapi::Kind;

use super::named::Named;

/// A contender that can be made, with the mount that it needs.
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

    /// An empty one; `file` where it is a file.
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
                Ok(Box::new(Driver::start(&program, &PROTOCOL, Limits::default())?))
            }
        }
    }

    /// The driver of a competitor.
    pub(super) fn program(&self) -> Option<Program> {
        match self.named {
            Named::ChromaDb(ef_search, url) => {
                let options = json!({ "ef_search": ef_search });
                Some(match url {
                    Some(url) => Program::server("chromadb", url, options),
                    None => Program::competitor("chromadb", options),
                })
            }
            Named::Qdrant(None) => Some(Program::competitor("qdrant", json!({}))),
            Named::Qdrant(Some(url)) => Some(Program::server("qdrant_server", url, json!({}))),
            _ => None,
        }
    }

    /// The kind of index that was asked for, of a contender that is a VexFS.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.named {
            Named::Engine(kind) | Named::Fuse(kind) | Named::Directory(_, kind) => Some(*kind),
            Named::ChromaDb(..) | Named::Qdrant(_) => None,
        }
    }

    /// Whether its rows can be asked back from it: the engine in process is asked by searches, in
    /// which only an exact index finds every row.
    pub(super) fn gives_rows_back(&self) -> bool {
        matches!(self.named, Named::Engine(Kind::Flat)) || !matches!(self.named, Named::Engine(_))
    }

    pub(super) fn end(self) -> Result<(), Failure> {
        self.mount.map_or(Ok(()), FuseMount::unmount)
    }
}

/// Both contenders and A's copies, to insert into: four stores.
pub(super) struct Four {
    pub(super) a: Box<dyn Contender>,
    pub(super) b: Box<dyn Contender>,
    again: Box<dyn Contender>,
    slowed: Slowed<Box<dyn Contender>>,
}

impl Four {
    pub(super) fn new(a: &NamedContender<'_>, b: &NamedContender<'_>) -> Result<Self, Failure> {
        Ok(Four {
            a: a.make(".compare-a.f32")?,
            b: b.make(".compare-b.f32")?,
            again: a.make(".compare-again.f32")?,
            slowed: Slowed::new(a.make(".compare-slowed.f32")?, PROTOCOL.dim),
        })
    }

    pub(super) fn sides(&mut self) -> Sides<'_> {
        let Four { a, b, again, slowed } = self;
        Sides { a, b, again, slowed }
    }
}

/// Both contenders with their rows, to search in: A's copies ask the store of A. Another one would
/// hold another graph where a competitor builds it in several threads, and answer otherwise.
pub(super) struct Two {
    pub(super) a: Shared,
    pub(super) b: Box<dyn Contender>,
    again: Shared,
    slowed: Slowed<Shared>,
}

impl Two {
    pub(super) fn of(filled: Four) -> Self {
        let name = filled.a.name().to_owned();
        let a = Shared { name, store: Rc::new(RefCell::new(filled.a)) };
        let slowed = Slowed::new(a.clone(), PROTOCOL.dim);
        Two { again: a.clone(), slowed, a, b: filled.b }
    }

    pub(super) fn sides(&mut self) -> Sides<'_> {
        let Two { a, b, again, slowed } = self;
        Sides { a, b, again, slowed }
    }
}

/// One store that several sides ask in turn.
#[derive(Clone)]
pub(super) struct Shared {
    name: String,
    store: Rc<RefCell<Box<dyn Contender>>>,
}

impl Contender for Shared {
    fn name(&self) -> &str {
        &self.name
    }
    fn describe(&mut self) -> Result<Value, Failure> {
        self.store.borrow_mut().describe()
    }
    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        self.store.borrow_mut().insert(first_row, rows)
    }
    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        self.store.borrow_mut().vectors()
    }
    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        self.store.borrow_mut().search(queries, k)
    }
}
