//! What a walk has met: operation by class of its arguments by what came of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::operation::Operation;
use super::outcome::Outcome;

/// What each operation must come to at least once where a walk is long enough. A cell that no walk met
/// is named in the evidence.
pub const DECLARED: [(&str, &[&str]); 25] = [
    ("open", &["done", "ENOENT", "EEXIST", "EISDIR", "ENOTDIR", "ELOOP", "ENAMETOOLONG"]),
    ("close", &["done", "EBADF"]),
    ("mkdir", &["done", "EEXIST", "ENOENT", "ENOTDIR", "ENAMETOOLONG"]),
    ("rmdir", &["done", "ENOENT", "ENOTDIR", "ENOTEMPTY"]),
    ("unlink", &["done", "ENOENT", "EISDIR", "ENOTDIR"]),
    ("symlink", &["done", "EEXIST", "ENOENT"]),
    ("readlink", &["done", "EINVAL", "ENOENT"]),
    ("link", &["done", "EEXIST", "ENOENT", "EPERM"]),
    ("rename", &["done", "ENOENT", "EEXIST", "EINVAL", "EISDIR", "ENOTDIR", "ENOTEMPTY"]),
    ("write", &["done", "EINVAL", "EBADF", "ENOENT"]),
    ("append", &["done", "EBADF", "EISDIR"]),
    ("read", &["done", "EISDIR", "EBADF"]),
    ("truncate", &["done", "EINVAL", "ENOENT"]),
    ("fallocate", &["done", "EINVAL", "EOPNOTSUPP", "EBADF"]),
    ("seek", &["done", "ENXIO"]),
    ("store", &["done", "ENXIO", "EACCES"]),
    ("chmod", &["done", "ENOENT"]),
    ("chown", &["done", "ENOENT"]),
    ("utimens", &["done", "ENOENT"]),
    ("set_xattr", &["done", "EEXIST", "ENODATA", "EOPNOTSUPP"]),
    ("get_xattr", &["done", "ENODATA", "EOPNOTSUPP"]),
    ("remove_xattr", &["done", "ENODATA", "EOPNOTSUPP"]),
    ("attach", &["done", "EEXIST", "EINVAL", "ENOTTY", "EBADF"]),
    ("detach", &["done", "ENOENT", "ENOTTY"]),
    ("search", &["done", "ENOENT", "EINVAL", "ENOTTY"]),
];

/// The table.
#[derive(Debug, Default, Serialize)]
pub struct Coverage(BTreeMap<&'static str, BTreeMap<String, BTreeMap<String, u64>>>);

impl Coverage {
    /// Counts a step.
    pub fn met(&mut self, step: &Operation, outcome: &Outcome) {
        let classes = self.0.entry(step.name()).or_default();
        *classes.entry(step.class()).or_default().entry(outcome.cell()).or_default() += 1;
    }

    /// How often an operation came to something.
    fn count(&self, operation: &str, outcome: &str) -> u64 {
        let classes = self.0.get(operation).into_iter().flat_map(BTreeMap::values);
        classes.filter_map(|outcomes| outcomes.get(outcome)).sum()
    }

    /// The declared cells that nothing met.
    pub fn unmet(&self) -> Vec<String> {
        let cells =
            DECLARED.iter().flat_map(|(name, all)| all.iter().map(move |cell| (name, cell)));
        cells
            .filter(|(name, cell)| self.count(name, cell) == 0)
            .map(|(name, cell)| format!("{name}: {cell}"))
            .collect()
    }
}
