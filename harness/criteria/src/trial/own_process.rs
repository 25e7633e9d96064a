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

/// Starts this test program again to run trials on the VexFS that `config` names, with evidence of
/// its own.
#[derive(Debug)]
pub struct OwnProcess<'a> {
    /// The environment variable that makes the program run those trials, and its value.
    pub mark: (&'a str, &'a str),
    /// The path of its `vexfs.toml`.
    pub config: &'a Path,
    /// A directory that other users may enter, for its temporary files and evidence.
    pub room: &'a Path,
    /// Seconds that a trial may take.
    pub most_seconds: &'a str,
    /// Limit for all trials together.
    pub limit: Duration,
}

impl OwnProcess<'_> {
    /// Its TMPDIR. The name is short, because paths of sockets in it must be short.
    pub fn temporary(&self) -> PathBuf {
        self.room.join("t")
    }

    /// Its evidence directory.
    pub fn evidence(&self) -> PathBuf {
        self.room.join("evidence")
    }

    /// Runs the program; trials may fail.
    ///
    /// # Errors
    /// It ended neither with success nor with failed trials, or not within the limit.
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
