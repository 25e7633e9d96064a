//! The acts: what the adversary does.

mod anything;
mod builds;
mod changes;
mod floods;
mod locks;

use std::fs::File;
use std::io;

use machine::failure::Failure;
use vexfs_uapi::client::{Declaration, attach};

use super::scene::Scene;

/// Attaches what `declaration` says. A home may have lower limits than the contract: then the
/// parameters are halved until it takes them, so that the home is asked for the most that it grants,
/// and in the end it chooses them itself. Returns what is attached.
fn attach_the_most(file: &File, declaration: &Declaration) -> io::Result<Declaration> {
    the_most(*declaration, |declaration| attach(file, declaration).map(drop))
}

fn the_most(
    mut declaration: Declaration,
    mut ask: impl FnMut(&Declaration) -> io::Result<()>,
) -> io::Result<Declaration> {
    loop {
        match ask(&declaration) {
            Ok(()) => return Ok(declaration),
            Err(error)
                if error.raw_os_error() == Some(libc::EINVAL) && declaration.params != [0; 8] =>
            {
                let least = declaration.params.iter().all(|param| *param <= 1);
                let halved = |param: u32| if least { 0 } else { param.div_ceil(2) };
                declaration.params = declaration.params.map(halved);
            }
            Err(error) => return Err(error),
        }
    }
}

/// When a round of an act ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When the adversary is done.
    Done,
    /// After so long that another user would have waited too long this many times over. The
    /// adversary is then killed.
    Killed(u32),
    /// When the home has used this many seconds of processor time for the adversary (first number:
    /// native, second: emulated CPU), which is enough to hurt others. The adversary is then killed.
    Worked(u64, u64),
}

/// An act.
pub struct Act {
    /// Its name, which continues "the adversary who".
    pub name: &'static str,
    /// The mount's size in MiB.
    mib: u64,
    /// The rounds in which it is played, and when each ends.
    pub rounds: &'static [Until],
    /// Whether it is also tried on FUSE in an emulated guest, where each request costs a
    /// millisecond.
    pub everywhere: bool,
    /// The act itself.
    pub(super) work: fn(&mut Scene) -> Result<(), Failure>,
}

impl Act {
    /// The mount's size in bytes.
    pub fn size(&self) -> u64 {
        self.mib << 20
    }

    /// The mount's size, as `size=` takes it, and further mount options. The small mount gets more
    /// inodes than by default, since each inode's own memory must fit as well.
    pub fn size_option(&self) -> &'static str {
        match self.mib {
            8 => "8M,nr_inodes=100000",
            64 => "64M",
            _ => "256M",
        }
    }
}

/// All acts.
pub const ACTS: &[Act] = &[
    Act {
        name: "attaches_without_end",
        mib: 64,
        rounds: &[Until::Killed(1)],
        everywhere: true,
        work: builds::without_end,
    },
    Act {
        name: "attaches_at_extremes",
        mib: 256,
        rounds: &[Until::Worked(9, 60), Until::Killed(1), Until::Killed(1)],
        everywhere: false,
        work: builds::at_extremes,
    },
    Act {
        name: "is_killed_while_he_changes_rows",
        mib: 64,
        rounds: &[Until::Worked(8, 60), Until::Killed(1), Until::Worked(1, 5)],
        everywhere: false,
        work: changes::change_without_end,
    },
    Act {
        name: "cuts_rows_across_training_steps",
        mib: 64,
        rounds: &[Until::Done],
        everywhere: true,
        work: changes::across_training_steps,
    },
    Act {
        name: "overwrites_all_rows",
        mib: 64,
        rounds: &[Until::Done],
        everywhere: false,
        work: changes::all_rows_again,
    },
    Act {
        name: "fills_the_mount_with_names",
        mib: 8,
        rounds: &[Until::Done],
        everywhere: false,
        work: floods::names,
    },
    Act {
        name: "renames_while_he_reads",
        mib: 8,
        rounds: &[Until::Done],
        everywhere: false,
        work: floods::renames,
    },
    Act {
        name: "unmaps_thousands_of_pages",
        mib: 64,
        rounds: &[Until::Killed(1)],
        everywhere: false,
        work: floods::pages,
    },
    Act {
        name: "searches_without_pause",
        mib: 64,
        rounds: &[Until::Killed(1)],
        everywhere: false,
        work: floods::searches,
    },
    Act {
        name: "removes_what_he_writes",
        mib: 64,
        rounds: &[Until::Killed(2)],
        everywhere: false,
        work: locks::writes_and_removes,
    },
    Act {
        name: "searches_what_he_removes",
        mib: 64,
        rounds: &[Until::Killed(2)],
        everywhere: false,
        work: locks::searches_and_removes,
    },
    Act {
        name: "is_killed_while_he_unmaps",
        mib: 64,
        rounds: &[Until::Killed(1)],
        everywhere: false,
        work: locks::unmaps,
    },
    Act {
        name: "does_anything",
        mib: 64,
        rounds: &[Until::Killed(2)],
        everywhere: true,
        work: anything::at_random,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_is_mounted() {
        for act in ACTS {
            let size = act.size_option().split(',').next();
            assert_eq!(size, Some(&*format!("{}M", act.mib)), "{}", act.name);
        }
    }
    #[test]
    fn a_home_with_lower_limits_is_asked_for_the_most_that_it_grants() {
        let declaration =
            Declaration { params: [128, 20_000, 0, 0, 0, 0, 0, 0], ..Declaration::flat(1) };
        let limit = |most| {
            the_most(declaration, |asked| {
                let errno = if asked.params[0] > most { libc::EINVAL } else { 0 };
                if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
            })
        };
        assert_eq!(limit(128).unwrap().params[..3], [128, 20_000, 0]);
        assert_eq!(limit(40).unwrap().params[..3], [32, 5_000, 0]);
        assert_eq!(limit(0).unwrap().params, [0; 8]);
        let none = |_: &Declaration| Err(io::Error::from_raw_os_error(libc::EINVAL));
        assert_eq!(the_most(declaration, none).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let full = |_: &Declaration| Err(io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(the_most(declaration, full).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }
}
