//! The status that the guest writes into the shared evidence directory.
//!
//! `fixtures/guest/init.sh` writes `running` before it runs the command and `exited` after it, so a
//! guest that is lost in between leaves a status that is not a success.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The name of the file in the evidence directory.
pub const STATUS_FILE: &str = "guest-status.json";

/// How far the guest has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GuestStatus {
    /// It is up, and the command has been started.
    Running {
        /// Type of the root file system: `virtiofs` or `9p`.
        root: String,
    },
    /// Something is missing that the launcher promises to the command.
    SetupFailed {
        /// What is missing.
        reason: String,
    },
    /// The command has ended.
    Exited {
        /// Its exit status, or 128 + signal if a signal ended it.
        code: u8,
        /// Type of the root file system.
        root: String,
    },
}

impl GuestStatus {
    /// Reads the status; `None` if there is none, or none that can be understood.
    pub(super) fn read(evidence: &Path) -> Option<Self> {
        let bytes = fs::read(evidence.join(STATUS_FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Type of the guest's root file system, if it is already known.
    pub(super) fn root(&self) -> Option<&str> {
        match self {
            GuestStatus::Running { root } | GuestStatus::Exited { root, .. } => Some(root),
            GuestStatus::SetupFailed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(r#"{"state":"running","root":"9p"}"#, Some(GuestStatus::Running { root: "9p".into() }))]
    #[case(
        r#"{"state":"exited","code":101,"root":"virtiofs"}"#,
        Some(GuestStatus::Exited { code: 101, root: "virtiofs".into() })
    )]
    #[case(
        r#"{"state":"setup_failed","reason":"no /dev/fuse"}"#,
        Some(GuestStatus::SetupFailed { reason: "no /dev/fuse".into() })
    )]
    #[case(r#"{"state":"exited","co"#, None)]
    #[case("", None)]
    fn a_status_is_read_or_is_none(#[case] text: &str, #[case] expected: Option<GuestStatus>) {
        let evidence = tempfile::tempdir().unwrap();
        assert_eq!(GuestStatus::read(evidence.path()), None);
        fs::write(evidence.path().join(STATUS_FILE), text).unwrap();
        assert_eq!(GuestStatus::read(evidence.path()), expected);
    }
}
