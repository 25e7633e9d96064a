//! Checked answers, as `vexfs.toml` has them.

/// Answers that have been checked. Paths begin beside the file, or are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    /// The words of the command that runs the daemon.
    pub fuse: Option<Vec<String>>,
    /// The words of the command that mounts it.
    pub mount: Option<Vec<String>>,
    /// The module's file, or the directory of its sources.
    pub module: Option<String>,
    /// The name of the module's file system, if it is not the module's.
    pub filesystem: Option<String>,
    /// Remarks for a person on answers that are allowed but may be a mistake.
    pub notes: Vec<String>,
}
