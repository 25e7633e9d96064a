//! What a walk does in one step.

use serde::Serialize;

/// A file that a step is done to: by its path, or through a descriptor that an earlier step opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A path below the directory that is walked in.
    Path(String),
    /// The descriptor of this number.
    Open(usize),
}

/// Bytes to write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// One byte, so many times.
    Fill(u8, usize),
    /// Components of rows, little-endian f32.
    Rows(Vec<i8>),
    /// One component that is infinite.
    Infinite,
}

impl Data {
    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Data::Fill(byte, length) => vec![*byte; *length],
            Data::Rows(rows) => rows.iter().flat_map(|&v| f32::from(v).to_le_bytes()).collect(),
            Data::Infinite => f32::INFINITY.to_le_bytes().to_vec(),
        }
    }
}

/// What open(2) is asked for.
pub const HOW: [&str; 7] = ["read", "write", "both", "append", "truncate", "create", "exclusive"];

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are the arguments of the system call")]
pub enum Operation {
    Open {
        number: usize,
        path: String,
        how: &'static str,
        mode: u32,
    },
    Close {
        number: usize,
    },
    Mkdir {
        path: String,
        mode: u32,
    },
    Rmdir {
        path: String,
    },
    Unlink {
        path: String,
    },
    Symlink {
        target: String,
        path: String,
    },
    Readlink {
        path: String,
    },
    Link {
        path: String,
        to: String,
    },
    Rename {
        path: String,
        to: String,
        flags: u32,
    },
    Write {
        target: Target,
        at: i64,
        data: Data,
    },
    Append {
        target: Target,
        data: Data,
    },
    Read {
        target: Target,
        at: i64,
        length: usize,
    },
    Truncate {
        target: Target,
        length: i64,
    },
    Fallocate {
        target: Target,
        mode: i32,
        at: i64,
        length: i64,
    },
    Seek {
        target: Target,
        at: i64,
        hole: bool,
    },
    /// Stores through a shared mapping, msync(2), munmap(2).
    Store {
        target: Target,
        at: usize,
        byte: u8,
        length: usize,
    },
    Chmod {
        target: Target,
        mode: u32,
    },
    Chown {
        target: Target,
        uid: u32,
        gid: u32,
    },
    Utimens {
        target: Target,
        accessed: i64,
        modified: i64,
    },
    SetXattr {
        target: Target,
        name: String,
        length: usize,
        flags: u32,
    },
    GetXattr {
        target: Target,
        name: String,
    },
    RemoveXattr {
        target: Target,
        name: String,
    },
    Attach {
        target: Target,
        index: u32,
        dim: u32,
        metric: u32,
        kind: u32,
    },
    Detach {
        target: Target,
        index: u32,
    },
    /// More than one query is a batch.
    Search {
        target: Target,
        index: u32,
        dim: u32,
        k: u32,
        queries: Vec<i8>,
    },
}

impl Operation {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Open { .. } => "open",
            Operation::Close { .. } => "close",
            Operation::Mkdir { .. } => "mkdir",
            Operation::Rmdir { .. } => "rmdir",
            Operation::Unlink { .. } => "unlink",
            Operation::Symlink { .. } => "symlink",
            Operation::Readlink { .. } => "readlink",
            Operation::Link { .. } => "link",
            Operation::Rename { .. } => "rename",
            Operation::Write { .. } => "write",
            Operation::Append { .. } => "append",
            Operation::Read { .. } => "read",
            Operation::Truncate { .. } => "truncate",
            Operation::Fallocate { .. } => "fallocate",
            Operation::Seek { .. } => "seek",
            Operation::Store { .. } => "store",
            Operation::Chmod { .. } => "chmod",
            Operation::Chown { .. } => "chown",
            Operation::Utimens { .. } => "utimens",
            Operation::SetXattr { .. } => "set_xattr",
            Operation::GetXattr { .. } => "get_xattr",
            Operation::RemoveXattr { .. } => "remove_xattr",
            Operation::Attach { .. } => "attach",
            Operation::Detach { .. } => "detach",
            Operation::Search { .. } => "search",
        }
    }

    /// The class of its arguments: what the table of coverage tells apart.
    pub fn class(&self) -> String {
        match self {
            Operation::Open { how, .. } => (*how).to_owned(),
            Operation::Rename { flags, .. } => format!("flags {flags}"),
            Operation::Fallocate { mode, .. } => format!("mode {mode}"),
            Operation::Seek { hole, .. } => if *hole { "hole" } else { "data" }.to_owned(),
            Operation::SetXattr { flags, .. } => format!("flags {flags}"),
            Operation::Attach { kind, .. } => format!("kind {kind}"),
            Operation::Search { dim, queries, .. } => {
                if queries.len() > *dim as usize { "batch" } else { "one query" }.to_owned()
            }
            Operation::Write { data, .. } | Operation::Append { data, .. } => match data {
                Data::Fill(..) => "bytes",
                Data::Rows(_) => "rows",
                Data::Infinite => "infinite",
            }
            .to_owned(),
            _ => match self.target() {
                Some(Target::Open(_)) => "descriptor".to_owned(),
                _ => "path".to_owned(),
            },
        }
    }

    /// The file that it is done to, where that is said by a target.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Operation::Write { target, .. }
            | Operation::Append { target, .. }
            | Operation::Read { target, .. }
            | Operation::Truncate { target, .. }
            | Operation::Fallocate { target, .. }
            | Operation::Seek { target, .. }
            | Operation::Store { target, .. }
            | Operation::Chmod { target, .. }
            | Operation::Chown { target, .. }
            | Operation::Utimens { target, .. }
            | Operation::SetXattr { target, .. }
            | Operation::GetXattr { target, .. }
            | Operation::RemoveXattr { target, .. }
            | Operation::Attach { target, .. }
            | Operation::Detach { target, .. }
            | Operation::Search { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The step as JSON, as the script takes it.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| error.to_string())
    }
}
