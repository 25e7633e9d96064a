//! The daemon under test on a mount point that the caller chooses, for trials in which mounting may
//! be refused, or several daemons follow each other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use machine::child::{Finished, Running};
use machine::config;
use machine::fail;
use machine::failure::{Failure, WithContext};
use machine::mount::is_mounted;
use machine::under_test::Program;

use super::connection::{self, Connection};
use super::guardian::Watched;
use super::memory::Held;
use super::shown::as_run;
use super::{left_behind, running};

/// A daemon that was started in the foreground and without options, as trials start it. If the
/// trial takes too long, whoever waits for the daemon is unblocked. Nothing of it is left on any
/// path.
#[derive(Debug)]
pub struct Foreground {
    /// `None` after it has been waited for.
    daemon: Option<Running>,
    pid: u32,
    mountpoint: PathBuf,
    command: String,
    held: Arc<Held>,
    _watched: Watched,
}

impl Foreground {
    /// Starts it on `mountpoint`, which may be an unsuitable path.
    ///
    /// # Errors
    /// If `vexfs.toml` is refused, the reference cannot be built, or the program cannot be started.
    pub fn start(mountpoint: &Path) -> Result<Foreground, Failure> {
        let program = Program::FuseDaemon.build_if_missing()?;
        let mut command = match own_command(&program, &[])? {
            Some(own) => own(mountpoint),
            None => {
                let mut command = Command::new(&program);
                command.arg(mountpoint);
                command
            }
        };
        command.env(left_behind::VARIABLE, mountpoint);
        let directory = around(mountpoint);
        let before = Watched::before_start(directory, mountpoint);
        let daemon = Running::start(&mut command)?;
        let watched = Watched::new(daemon.pid(), directory, mountpoint);
        drop(before);
        let pid = daemon.pid().as_raw().unsigned_abs();
        Ok(Foreground {
            daemon: Some(daemon),
            pid,
            mountpoint: mountpoint.to_owned(),
            command: as_run(&command),
            held: running::add(pid, mountpoint),
            _watched: watched,
        })
    }

    /// Whether something is mounted on its mount point now.
    ///
    /// # Errors
    /// If the list of mounts cannot be read.
    pub fn has_mounted(&self) -> Result<bool, Failure> {
        let mounted = is_mounted(&self.mountpoint)?;
        if mounted {
            running::connected(self.pid, Connection::of(&self.mountpoint)?);
        }
        Ok(mounted)
    }

    /// Whether it has ended; it must still be [finished](Foreground::finish).
    ///
    /// # Errors
    /// If its state cannot be read.
    pub fn has_ended(&self) -> Result<bool, Failure> {
        self.daemon.as_ref().map_or(Ok(true), |daemon| Ok(daemon.ended()?.is_some()))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it continues for longer than `limit`, or was killed for its memory.
    pub fn finish(mut self, limit: Duration) -> Result<Finished, Failure> {
        let Some(daemon) = self.daemon.take() else { fail!("{} has ended", self.command) };
        let ended = daemon.finish(limit).context(format!("it runs as: {}", self.command));
        running::forget(self.pid);
        match self.held.in_words() {
            Some(held) => fail!("the FUSE daemon {held}; it was run as: {}", self.command),
            None => ended,
        }
    }

    /// Ends all processes that daemons have left on `mountpoint`, and all mounts in the directory
    /// that contains it, which must belong to the caller alone. Returns what was left on
    /// `mountpoint`.
    ///
    /// # Errors
    /// If the list of mounts cannot be read.
    pub fn end_all_of(mountpoint: &Path) -> Result<Vec<String>, Failure> {
        let mut left: Vec<String> = left_behind::processes(mountpoint)
            .iter()
            .map(|one| format!("the process {} ({})", one.pid, one.name))
            .collect();
        if is_mounted(mountpoint)? {
            left.push(format!("a mount on {}", mountpoint.display()));
        }
        left_behind::kill(mountpoint);
        connection::detach_all(around(mountpoint));
        Ok(left)
    }
}

/// Ends the processes and mounts that daemons have left on a mount point and beside it, on every
/// path, even if this process is killed meanwhile.
#[derive(Debug)]
pub struct NothingLeft {
    mountpoint: PathBuf,
    _watched: Watched,
}

impl NothingLeft {
    /// Call this before the first daemon is started on `mountpoint`, in a directory that belongs to
    /// the caller alone.
    #[must_use]
    pub fn on(mountpoint: &Path) -> NothingLeft {
        let watched = Watched::before_start(around(mountpoint), mountpoint);
        NothingLeft { mountpoint: mountpoint.to_owned(), _watched: watched }
    }
}

impl Drop for NothingLeft {
    fn drop(&mut self) {
        let _ = Foreground::end_all_of(&self.mountpoint);
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if self.daemon.is_none() {
            return;
        }
        // A daemon that waits for its own mount does not react to SIGKILL.
        if let Ok(Some(connection)) = Connection::of(&self.mountpoint) {
            connection.abort();
        }
        self.daemon = None;
        running::forget(self.pid);
        left_behind::kill(&self.mountpoint);
        connection::detach_all(around(&self.mountpoint));
    }
}

/// The directory in which it may have mounted more than it was told to.
fn around(mountpoint: &Path) -> &Path {
    mountpoint.parent().unwrap_or(mountpoint)
}

/// How `vexfs.toml` mounts `program` with `options`, as a function of the mount point. `None` if
/// both the program and the way to mount it are the reference's.
pub(super) fn own_command(
    program: &Path,
    options: &[&str],
) -> Result<Option<impl FnOnce(&Path) -> Command>, Failure> {
    let config = config::current()?;
    let arguments = match (&config.fuse, &config.mount.fuse) {
        (None, None) => return Ok(None),
        (own, _) => own.as_ref().map(|own| own.arguments.clone()).unwrap_or_default(),
    };
    let mount = config.mount.fuse.clone().unwrap_or_else(|| config::ConfiguredCommand {
        arguments: vec!["{options}".to_owned(), "{mountpoint}".to_owned()],
        // Arguments may be paths, which are relative to the configuration file's directory.
        directory: config.fuse.as_ref().map_or_else(|| "/".into(), |own| own.directory.clone()),
        ..config::ConfiguredCommand::of("{program}".into())
    });
    let program = std::iter::once(program.display().to_string()).chain(arguments).collect();
    let options = options.iter().map(|&option| option.to_owned()).collect();
    Ok(Some(move |mountpoint: &Path| {
        let mountpoint = vec![mountpoint.display().to_string()];
        mount.filled(&[("program", program), ("options", options), ("mountpoint", mountpoint)])
    }))
}
