//! Runs a trial in a process of its own, for tests of the trials against daemons that may hang or kill
//! them.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use machine::child::{Finished, Running};
use machine::config;
use machine::failure::Failure;
use machine::place::DIR_VARIABLE;
use machine::require;

use super::MOST_VARIABLE;

/// This program once more, which runs trials on what `config` names and leaves their evidence.
#[derive(Debug)]
pub struct OwnProcess<'a> {
    /// The environment variable that makes it run them, and its value.
    pub mark: (&'a str, &'a str),
    /// The `vexfs.toml`.
    pub config: &'a Path,
    /// A directory that others may enter, in which it makes its own.
    pub room: &'a Path,
    /// Seconds that a trial may take.
    pub most_seconds: &'a str,
    /// For all of them.
    pub limit: Duration,
}

impl OwnProcess<'_> {
    /// Its TMPDIR. The name is short, for there are sockets beneath it.
    pub fn temporary(&self) -> PathBuf {
        self.room.join("t")
    }

    /// Where its evidence is.
    pub fn evidence(&self) -> PathBuf {
        self.room.join("evidence")
    }

    /// Runs it, whatever the trials find.
    ///
    /// # Errors
    /// It ended neither as passed nor as failed, or not within the limit.
    pub fn run(&self) -> Result<Finished, Failure> {
        let (temporary, evidence) = (self.temporary(), self.evidence());
        for directory in [&temporary, &evidence] {
            fs::create_dir(directory)?;
            fs::set_permissions(directory, Permissions::from_mode(0o755))?;
        }
        let mut command = Command::new(env::current_exe()?);
        command.arg("--test-threads=4").env_remove("NEXTEST").env_remove("NEXTEST_RUN_ID");
        command.env(self.mark.0, self.mark.1).env(MOST_VARIABLE, self.most_seconds);
        command.env(config::VARIABLE, self.config).env("TMPDIR", &temporary);
        command.env(DIR_VARIABLE, &evidence);
        let ended = Running::start(&mut command)?.finish(self.limit)?;
        require!(
            matches!(ended.status.code(), Some(0 | 101)),
            "the criterion ended with {}:\n{}",
            ended.status,
            ended.tail()
        );
        Ok(ended)
    }
}
