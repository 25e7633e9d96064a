//! The operations that both homes are tried with, as a table.

use std::fs;
use std::path::Path;

use super::{
    allocation, attributes, capacity, data, direct, directories, handles, links, mapping, open,
    permissions, rename, set_id, sparse, stores, times, transfer, vectors, vexctl, xattrs,
};
use crate::failure::{Failure, While};
use crate::require;
use crate::requirement::Requirement;

/// Something that a file system does, tried in a directory of its own on the mount.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The trial's name without its criterion.
    pub name: &'static str,
    /// Tries it in the directory given, which is empty.
    pub check: fn(&Path) -> Result<(), Failure>,
    /// Mount options, which both homes understand.
    pub options: &'static str,
    /// What it needs of the machine, beyond a mounted home.
    pub needs: &'static [Requirement],
    /// How much it asks for.
    pub effort: Effort,
}

/// How much an operation asks of a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Little: it is also tried on FUSE around the module.
    Quick,
    /// Seconds.
    Long,
    /// Hundreds of thousands of requests, which each cost FUSE a millisecond in an emulated
    /// guest: FUSE is tried on the host.
    ManyRequests,
}

/// Mount options where an operation says nothing else.
const OPTIONS: &str = "size=256M";

impl Operation {
    /// An operation on a mount of 256 MiB that is quick and needs nothing.
    pub(super) const fn new(name: &'static str, check: fn(&Path) -> Result<(), Failure>) -> Self {
        Operation { name, check, options: OPTIONS, needs: &[], effort: Effort::Quick }
    }

    pub(super) const fn effort(self, effort: Effort) -> Self {
        Operation { effort, ..self }
    }

    /// It acts as other users, which only root can.
    pub(super) const fn as_root(self) -> Self {
        Operation { needs: &[Requirement::Root], ..self }
    }

    /// It runs `vexctl`.
    pub(super) const fn with_vexctl(self) -> Self {
        Operation { needs: &[Requirement::Vexctl], ..self }
    }

    /// It is tried on a mount with `options`.
    pub(super) const fn on(self, options: &'static str) -> Self {
        Operation { options, ..self }
    }

    /// Whether any mount of the default size will do.
    fn on_any_mount(&self) -> bool {
        self.options == OPTIONS
    }
}

/// Operations that are called what the functions are called that try them.
macro_rules! operations {
    ($($check:ident $(.$how:ident($($what:expr)?))*),* $(,)?) => {
        &[$(
            $crate::filesystem::operation::Operation::new(stringify!($check), $check)
                $(.$how($($what)?))*
        ),*]
    };
}
pub(super) use operations;

/// All of them.
#[must_use]
pub fn all_operations() -> Vec<Operation> {
    [
        data::OPERATIONS,
        allocation::OPERATIONS,
        open::OPERATIONS,
        direct::OPERATIONS,
        sparse::OPERATIONS,
        transfer::OPERATIONS,
        mapping::OPERATIONS,
        stores::OPERATIONS,
        rename::OPERATIONS,
        links::OPERATIONS,
        handles::OPERATIONS,
        directories::OPERATIONS,
        attributes::OPERATIONS,
        times::OPERATIONS,
        permissions::OPERATIONS,
        set_id::OPERATIONS,
        xattrs::OPERATIONS,
        capacity::OPERATIONS,
        vexctl::OPERATIONS,
    ]
    .concat()
    .into_iter()
    .chain(vectors::operations())
    .collect()
}

impl Operation {
    /// Tries it on the file system mounted at `mount`, and sees to it that nothing stays there.
    ///
    /// # Errors
    /// What the operation found, or a directory that cannot be made or removed. Where a system
    /// call failed its errno comes first: `rename: ENOSYS (Function not implemented ...)`.
    pub fn run(&self, mount: &Path) -> Result<(), Failure> {
        let directory = mount.join(self.name);
        fs::create_dir(&directory).when(format!("mkdir {}", self.name))?;
        if let Err(failure) = (self.check)(&directory) {
            // The next may be tried on the same mount; what it cannot remove it has not.
            let _ = fs::remove_dir_all(&directory);
            return Err(match failure.errno() {
                Some(errno) => {
                    Failure::new(format!("{}: {errno:?} ({failure})", self.name)).by(Some(errno))
                }
                None => failure.while_doing(self.name),
            });
        }
        fs::remove_dir_all(&directory).when(format!("removing {}", self.name))?;
        require!(!directory.exists(), "{} is still there after its removal", self.name);
        Ok(())
    }
}

/// Tries those that are quick and fit on one mount, one after the other; the outcome of each by
/// name.
#[must_use]
pub fn run_all(mount: &Path) -> Vec<(&'static str, Result<(), String>)> {
    all_operations()
        .iter()
        .filter(|one| one.on_any_mount() && one.effort == Effort::Quick)
        .map(|one| (one.name, one.run(mount).map_err(|failure| failure.to_string())))
        .collect()
}
