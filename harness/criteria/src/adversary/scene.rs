//! The adversary's side: his instructions, his mount and his random choices.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use homes::torture::fuzz::Dice;
use machine::failure::{Failure, WithContext};
use serde::{Deserialize, Serialize};

/// The line that the adversary prints when his preparations are done.
pub const READY: &str = "ready";

/// The adversary's instructions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SceneOrder {
    /// The act's name.
    pub act: String,
    /// The mount.
    pub root: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Seed of the random choices.
    pub seed: u64,
    /// How many rounds of the act have been played before.
    pub round: u32,
    /// Whether the CPU is emulated.
    pub emulated: bool,
    /// Factor on the amount of work.
    pub times: u32,
}

/// What an act works with.
pub struct Scene {
    /// The instructions.
    pub order: SceneOrder,
    /// The random choices.
    pub dice: Dice,
}

impl Scene {
    /// The path of `name` in the mount's root, which others use as well.
    pub fn path(&self, name: &str) -> PathBuf {
        self.order.root.join(name)
    }

    /// Creates a file, open for reading and writing.
    pub fn file(&self, name: &str) -> Result<File, Failure> {
        open_new(&self.path(name))
    }

    /// One of two values, by whether the CPU is emulated.
    pub fn sized<T>(&self, native: T, emulated: T) -> T {
        if self.order.emulated { emulated } else { native }
    }

    /// Announces the next step, for the message of a failure.
    pub fn says(&self, what: impl Display) {
        println!("{what}");
    }

    /// Announces that the preparations are done.
    pub fn ready(&self) {
        println!("{READY}");
    }
}

/// Creates or truncates the file at `path`, open for reading and writing.
pub fn open_new(path: &Path) -> Result<File, Failure> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(true);
    how.open(path).context(path.display())
}
