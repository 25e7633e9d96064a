//! The adversary's side: who he is, where he is, and what he may choose.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use homes::torture::fuzz::Dice;
use machine::failure::{Failure, WithContext};
use serde::{Deserialize, Serialize};

/// The line that the adversary prints when he is ready.
pub const READY: &str = "ready";

/// The adversary's instructions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SceneOrder {
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
    pub order: SceneOrder,
    /// His choices.
    pub dice: Dice,
}

impl Scene {
    /// A name of his in the mount's root, which others use as well.
    pub fn path(&self, name: &str) -> PathBuf {
        self.order.root.join(name)
    }

    /// A new file of his, open for reading and writing.
    pub fn file(&self, name: &str) -> Result<File, Failure> {
        open_new(&self.path(name))
    }

    /// One of two, by the CPU.
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
pub fn open_new(path: &Path) -> Result<File, Failure> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(true);
    how.open(path).context(path.display())
}
