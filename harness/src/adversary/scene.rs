//! The adversary's side: who he is, where he is, and what he may choose.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use super::acts::ACTS;
use crate::failure::{Failure, While};
use crate::torture::fuzz::Dice;

/// The part's name.
pub const PART: &str = "adversary";
/// The line by which he says that preparations are done.
pub const READY: &str = "ready";
/// A user who owns nothing, and the group of the same number.
const NOBODY: u32 = 65_534;

/// What the adversary is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// His act's name.
    pub act: String,
    /// The mount.
    pub root: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// What decides his choices.
    pub seed: u64,
    /// How often he has played the act before.
    pub round: u32,
    /// Whether the CPU is emulated.
    pub emulated: bool,
    /// How many times as much he does.
    pub times: u32,
}

/// Where he is.
pub struct Scene {
    /// His order.
    pub order: Order,
    /// His choices.
    pub dice: Dice,
}

/// Plays the adversary.
///
/// # Errors
/// What he found.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: Order = serde_json::from_str(order).when("the adversary's order")?;
    if geteuid().is_root() {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[]).when("setgroups")?;
        setresgid(gid, gid, gid).when("setresgid")?;
        setresuid(uid, uid, uid).when("setresuid")?;
    }
    // It goes with a change of credentials.
    set_pdeathsig(Signal::SIGKILL).when("prctl")?;
    let Some(act) = ACTS.iter().find(|act| act.name == order.act) else {
        crate::fail!("the adversary has no act {}", order.act)
    };
    let dice = Dice::new(order.seed, u64::from(order.round) << 32);
    (act.work)(&mut Scene { order, dice })
}

impl Scene {
    /// A name of his in the mount's root, which others use as well.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.order.root.join(name)
    }

    /// A new file of his, open for reading and writing.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn file(&self, name: &str) -> Result<File, Failure> {
        open_new(&self.path(name))
    }

    /// One of two, by the CPU.
    #[must_use]
    pub fn sized<T>(&self, native: T, emulated: T) -> T {
        if self.order.emulated { emulated } else { native }
    }

    /// Says what he does, for the failure.
    pub fn says(&self, what: impl Display) {
        println!("{what}");
    }

    /// Says that preparations are done.
    pub fn ready(&self) {
        println!("{READY}");
    }
}

/// A new file.
///
/// # Errors
/// Where it cannot be created.
pub fn open_new(path: &Path) -> Result<File, Failure> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(true);
    how.open(path).when(path.display())
}
