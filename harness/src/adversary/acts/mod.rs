//! What the adversary does.

mod anything;
mod builds;
mod changes;
mod floods;

use std::time::Duration;

use super::bound::Bound;
use super::scene::Scene;
use crate::failure::Failure;

/// How long an act lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Until he is done; so many bounds are more than he needs.
    UntilDone,
    /// Until he is killed, which is when whoever waits for him has waited too long.
    UntilKilled,
    /// As before, but twice as long: there is more that he can do.
    UntilKilledLate,
    /// Three times in a row until he is killed, the first time four times as long: he has to get as
    /// far as where it hurts.
    UntilKilledThrice,
}

/// An act.
pub struct Act {
    /// Its name, which goes on after "the adversary who".
    pub name: &'static str,
    /// The mount's size in MiB.
    mib: u64,
    /// How long it lasts.
    lasts: Lasts,
    /// Whether FUSE in an emulated guest, where each request costs a millisecond, is tried as well.
    pub everywhere: bool,
    /// What he does.
    pub(super) work: fn(&mut Scene) -> Result<(), Failure>,
}

impl Act {
    /// The mount's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.mib << 20
    }

    /// The mount's size, as `size=` takes it.
    #[must_use]
    pub fn size_option(&self) -> &'static str {
        match self.mib {
            8 => "8M",
            64 => "64M",
            _ => "256M",
        }
    }

    /// How often he plays it.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        if self.lasts == Lasts::UntilKilledThrice { 3 } else { 1 }
    }

    /// How long he is left at it.
    #[must_use]
    pub fn lasts(&self, bound: &Bound, round: u32) -> Duration {
        match self.lasts {
            Lasts::UntilKilledThrice if round == 0 => bound.longer() * 4,
            Lasts::UntilKilledThrice => bound.longer(),
            Lasts::UntilDone => bound.now() * 60,
            Lasts::UntilKilled => bound.longer(),
            Lasts::UntilKilledLate => bound.longer() * 2,
        }
    }
}

/// All acts.
pub const ACTS: &[Act] = &[
    Act {
        name: "attaches_without_end",
        mib: 64,
        lasts: Lasts::UntilKilled,
        everywhere: true,
        work: builds::without_end,
    },
    Act {
        name: "attaches_at_extremes",
        mib: 256,
        lasts: Lasts::UntilKilledThrice,
        everywhere: false,
        work: builds::at_extremes,
    },
    Act {
        name: "is_killed_while_cutting_rows",
        mib: 64,
        lasts: Lasts::UntilKilled,
        everywhere: false,
        work: changes::cut_without_end,
    },
    Act {
        name: "cuts_rows_across_training_steps",
        mib: 64,
        lasts: Lasts::UntilDone,
        everywhere: true,
        work: changes::across_training_steps,
    },
    Act {
        name: "overwrites_all_rows",
        mib: 64,
        lasts: Lasts::UntilDone,
        everywhere: false,
        work: changes::all_rows_again,
    },
    Act {
        name: "fills_the_mount_with_names",
        mib: 8,
        lasts: Lasts::UntilDone,
        everywhere: false,
        work: floods::names,
    },
    Act {
        name: "renames_while_he_reads",
        mib: 8,
        lasts: Lasts::UntilDone,
        everywhere: false,
        work: floods::renames,
    },
    Act {
        name: "unmaps_thousands_of_pages",
        mib: 64,
        lasts: Lasts::UntilKilled,
        everywhere: false,
        work: floods::pages,
    },
    Act {
        name: "searches_without_pause",
        mib: 64,
        lasts: Lasts::UntilKilled,
        everywhere: false,
        work: floods::searches,
    },
    Act {
        name: "does_anything",
        mib: 64,
        lasts: Lasts::UntilKilledLate,
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
            assert_eq!(act.size_option(), format!("{}M", act.mib), "{}", act.name);
        }
    }
}
