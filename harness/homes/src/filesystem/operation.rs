//! An operation, a row of the table, with which both homes are tried.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use machine::failure::{Failure, WithContext};
use machine::require;

use super::contract::{self, MARK, OPTIONS};

/// Something that a file system can do, tried in a directory of its own on the mount.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The trial's name without its criterion.
    pub name: &'static str,
    /// Tries the operation in the given directory, which is empty.
    pub check: fn(&Path) -> Result<(), Failure>,
    /// Mount options, which both homes understand.
    pub options: &'static str,
    /// What it needs from the machine, besides a mounted home.
    pub needs: &'static [Need],
    /// How much work it is.
    pub effort: Effort,
}

/// Something that an operation needs from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Root's privileges, because it acts as other users.
    Root,
    /// The program `vexctl`.
    Vexctl,
}

/// How much work an operation is for a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Little work: it is also tried on FUSE while the module is loaded.
    Quick,
    /// Seconds.
    Long,
    /// Hundreds of thousands of requests, each of which costs FUSE a millisecond in an emulated
    /// guest. So FUSE is tried on the host only.
    ManyRequests,
}

impl Operation {
    /// An operation on a mount of 256 MiB that is quick and needs nothing.
    pub(super) const fn new(name: &'static str, check: fn(&Path) -> Result<(), Failure>) -> Self {
        Operation { name, check, options: OPTIONS, needs: &[], effort: Effort::Quick }
    }

    pub(super) const fn effort(self, effort: Effort) -> Self {
        Operation { effort, ..self }
    }

    /// Marks that it acts as other users, which only root can do.
    pub(super) const fn as_root(self) -> Self {
        Operation { needs: &[Need::Root], ..self }
    }

    /// Marks that it runs `vexctl`.
    pub(super) const fn with_vexctl(self) -> Self {
        Operation { needs: &[Need::Vexctl], ..self }
    }

    /// Tries it on a mount with `options`.
    pub(super) const fn on(self, options: &'static str) -> Self {
        Operation { options, ..self }
    }

    /// Whether it can use any mount of the default size.
    pub fn on_any_mount(&self) -> bool {
        self.options == OPTIONS
    }
}

/// Operations, each named after the function that tries it.
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
    /// Tries it on the file system that is mounted at `mount`, and makes sure that nothing is left
    /// there.
    ///
    /// # Errors
    /// What the operation found, or a directory that cannot be made or removed. If a system call
    /// failed, the message begins with its errno: `rename: ENOSYS (Function not implemented ...)`.
    pub fn run(&self, mount: &Path) -> Result<(), Failure> {
        // Without these limits, some operations would fill the disk behind the mount, or all
        // memory.
        contract::keeps_limits(mount, self.options).map_err(|failure| self.told(failure))?;
        let room = Room::on(mount, self.name)?;
        if let Err(failure) = (self.check)(&room.directory) {
            // Clean up, because the next operation may use the same mount. Errors are ignored: the
            // operation failed anyway.
            let _ = room.clear();
            return Err(self.told(failure));
        }
        room.clear().context(format!("removing what {} made", self.name))
    }

    /// Adds to `failure` the operation and the errno at the beginning. What only the contract
    /// requires stays at the end, and a request that is not known gets that explanation.
    fn told(&self, failure: Failure) -> Failure {
        // Adds the source position if there is no context, to say which of a trial's calls it was.
        let place = failure.place().map_or_else(String::new, |place| format!(", at {place}"));
        let told = match failure.errno() {
            Some(errno) => {
                let said = failure.to_string();
                let (said, asked) = said.split_at(said.find(MARK).unwrap_or(said.len()));
                Failure::new(format!("{}: {errno:?} ({said}{place}){asked}", self.name))
                    .with_errno(Some(errno))
            }
            None => failure.context(self.name),
        };
        contract::explained(told)
    }
}

/// The empty directory in which an operation is tried.
struct Room {
    directory: PathBuf,
    /// Whether it is the mount's root, which is used if the file system has no mkdir(2).
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

/// Whether this is an errno that the kernel or libfuse returns for a file system without mkdir(2).
fn lacks_mkdir(error: &io::Error) -> bool {
    let errno = error.raw_os_error().unwrap_or_default();
    [libc::ENOSYS, libc::EPERM, libc::EOPNOTSUPP].contains(&errno)
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut names| names.next().is_none())
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::super::asked::{HOLES, REQUESTS};
    use super::super::contract::{ASKS, ByContract};
    use super::*;

    #[test]
    fn a_failure_begins_with_its_errno_and_ends_with_what_the_contract_asks() {
        let operation = Operation::new("punch_hole", |_| Ok(()));
        let failure = |errno| Failure::new("in a row").with_errno(errno);
        let told = |failure| operation.told(failure).to_string();
        let broken = told(failure(Some(Errno::EIO)));
        assert!(broken.starts_with("punch_hole: EIO (") && !broken.contains(ASKS), "{broken}");
        assert_eq!(told(failure(None)), "punch_hole: in a row");
        let unknown = told(failure(Some(Errno::ENOTTY)));
        assert!(unknown.ends_with(REQUESTS.words()), "{unknown}");
        let step: Result<(), Failure> = Err(failure(Some(Errno::EOPNOTSUPP)));
        let marked = told(step.by_contract(HOLES).unwrap_err());
        assert_eq!(marked, format!("punch_hole: EOPNOTSUPP (in a row); {ASKS}{HOLES}"));
    }
}
