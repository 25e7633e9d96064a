//! An operation that both homes are tried with: a row of the table.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use machine::failure::{Failure, WithContext};
use machine::require;

use super::contract;

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
    pub needs: &'static [Need],
    /// How much it asks for.
    pub effort: Effort,
    /// What of it is asked by docs/contract.md alone, so that a good file system may lack it.
    pub contract: Option<&'static str>,
}

/// What an operation needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To be root: it acts as other users.
    Root,
    /// The program `vexctl`.
    Vexctl,
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
pub const OPTIONS: &str = "size=256M";

impl Operation {
    /// An operation on a mount of 256 MiB that is quick and needs nothing.
    pub(super) const fn new(name: &'static str, check: fn(&Path) -> Result<(), Failure>) -> Self {
        Operation {
            name,
            check,
            options: OPTIONS,
            needs: &[],
            effort: Effort::Quick,
            contract: None,
        }
    }

    pub(super) const fn effort(self, effort: Effort) -> Self {
        Operation { effort, ..self }
    }

    /// It asks for more than POSIX and Linux do: `what`, in a few words, for which docs/contract.md
    /// has the reason.
    pub(super) const fn by_contract(self, what: &'static str) -> Self {
        Operation { contract: Some(what), ..self }
    }

    /// It acts as other users, which only root can.
    pub(super) const fn as_root(self) -> Self {
        Operation { needs: &[Need::Root], ..self }
    }

    /// It runs `vexctl`.
    pub(super) const fn with_vexctl(self) -> Self {
        Operation { needs: &[Need::Vexctl], contract: Some(contract::REQUESTS), ..self }
    }

    /// It is tried on a mount with `options`.
    pub(super) const fn on(self, options: &'static str) -> Self {
        Operation { options, ..self }
    }

    /// Whether any mount of the default size will do.
    pub fn on_any_mount(&self) -> bool {
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

impl Operation {
    /// Tries it on the file system mounted at `mount`, and sees to it that nothing stays there.
    ///
    /// # Errors
    /// What the operation found, or a directory that cannot be made or removed. Where a system
    /// call failed its errno comes first: `rename: ENOSYS (Function not implemented ...)`.
    pub fn run(&self, mount: &Path) -> Result<(), Failure> {
        // Without them some would fill whatever disk is behind the mount, or all memory.
        contract::keeps_limits(mount, self.options).map_err(|failure| self.told(failure))?;
        let room = Room::on(mount, self.name)?;
        if let Err(failure) = (self.check)(&room.directory) {
            // The next may be tried on the same mount; what it cannot remove it has not.
            let _ = room.clear();
            return Err(self.told(failure));
        }
        room.clear().context(format!("removing what {} made", self.name))
    }

    /// `failure`, with the operation and what a system call gave at its beginning, and with what the
    /// contract alone asks at its end.
    fn told(&self, failure: Failure) -> Failure {
        // A call that stands for itself need not be named; which of a trial's calls it was has to be.
        let place = failure.place().map_or_else(String::new, |place| format!(", at {place}"));
        let told = match failure.errno() {
            Some(errno) => Failure::new(format!("{}: {errno:?} ({failure}{place})", self.name))
                .with_errno(Some(errno)),
            None => failure.context(self.name),
        };
        match self.contract {
            Some(asked) => contract::asks(told, asked),
            None => contract::explained(told),
        }
    }
}

/// The empty directory in which an operation is tried.
struct Room {
    directory: PathBuf,
    /// The mount's root: a file system without mkdir(2) is tried in what it has.
    is_root: bool,
}

impl Room {
    fn on(mount: &Path, name: &str) -> Result<Room, Failure> {
        let directory = mount.join(name);
        match fs::create_dir(&directory) {
            Ok(()) => Ok(Room { directory, is_root: false }),
            Err(error) if lacks_mkdir(&error) && is_empty(mount) => {
                Ok(Room { directory: mount.to_owned(), is_root: true })
            }
            Err(error) => Err(error).context(format!("mkdir {name}")),
        }
    }

    fn clear(&self) -> Result<(), Failure> {
        if !self.is_root {
            fs::remove_dir_all(&self.directory)?;
            require!(
                !self.directory.exists(),
                "{} is still there after its removal",
                self.directory.display()
            );
            return Ok(());
        }
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let path = entry.path();
            if kind.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        Ok(())
    }
}

/// What the kernel and libfuse say for a file system that has no mkdir(2).
fn lacks_mkdir(error: &io::Error) -> bool {
    let errno = error.raw_os_error().unwrap_or_default();
    [libc::ENOSYS, libc::EPERM, libc::EOPNOTSUPP].contains(&errno)
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut names| names.next().is_none())
}
