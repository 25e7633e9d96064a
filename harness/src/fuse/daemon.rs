//! A mounted FUSE daemon that is unmounted and reaped on every path.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::child::{Running, die_with_us};
use crate::config;
use crate::deadline::wait_for;
use crate::failure::{Failure, While};
use crate::mount::{is_mounted, unmount, unmount_by_force};
use crate::release::Program;
use crate::{fail, project, require};

use super::announcement::Announcement;
use super::left_behind;
use super::readiness::{Readiness, is_fuse};

/// An emulated guest on a busy machine needs seconds where a quiet host needs milliseconds.
pub(super) const MOUNT_LIMIT: Duration = Duration::from_secs(30);
const EXIT_LIMIT: Duration = Duration::from_secs(30);
/// How long a daemon's helper may outlive it, and a killed daemon the signal.
const LINGER: Duration = Duration::from_secs(2);

/// A daemon that serves a mount point of its own.
#[derive(Debug)]
pub struct FuseMount {
    /// Holds the mount point and the daemon's stderr.
    directory: TempDir,
    mountpoint: PathBuf,
    /// `None` once it has exited.
    child: Option<Child>,
}

/// The daemon under test; builds the reference where that is meant and not there yet.
///
/// # Errors
/// Where cargo cannot build it, or `vexfs.toml` is refused.
pub fn build_if_missing() -> Result<PathBuf, Failure> {
    Program::FuseDaemon.build_if_missing()
}

impl FuseMount {
    /// Starts `program` with `options` on an empty directory and waits until it is mounted. The
    /// daemon that `vexfs.toml` names is given its own arguments first and announces nothing; any
    /// other announces itself as the reference does.
    ///
    /// # Errors
    /// The program cannot be run, ends, or does not mount in time; with what it said.
    pub fn start(program: &Path, options: &[&str]) -> Result<FuseMount, Failure> {
        if program == project::fuse_daemon()?
            && let Some(own) = own_command(program, options)?
        {
            return FuseMount::spawn(own, Readiness::Unannounced);
        }
        FuseMount::start_announced(program, options, Readiness::Descriptor)
    }

    /// Starts a `program` that announces itself by `readiness`; see [`FuseMount::start`].
    ///
    /// # Errors
    /// As [`FuseMount::start`].
    pub fn start_announced(
        program: &Path,
        options: &[&str],
        readiness: Readiness,
    ) -> Result<FuseMount, Failure> {
        let command = |mountpoint: &Path| {
            let mut command = Command::new(program);
            command.args(options).arg(mountpoint);
            command
        };
        FuseMount::spawn(command, readiness)
    }

    /// Starts the command that is made of the mount point.
    fn spawn(
        command: impl FnOnce(&Path) -> Command,
        readiness: Readiness,
    ) -> Result<FuseMount, Failure> {
        let directory = tempfile::Builder::new().prefix("vexfs-fuse-").tempdir()?;
        let mountpoint = directory.path().join("mnt");
        fs::create_dir(&mountpoint)?;
        let stderr = File::create(directory.path().join("stderr"))?;
        let mut command = command(&mountpoint);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
        command.env(left_behind::VARIABLE, &mountpoint);
        // Its SIGTERM unmounts.
        die_with_us(&mut command, Signal::SIGTERM);
        let announcement = match readiness {
            Readiness::Descriptor => Some(Announcement::ordered(&mut command)?),
            Readiness::Unannounced => None,
        };
        let child = command.spawn().when(format!(
            "starting {} (build the reference with: {})",
            command.get_program().display(),
            Program::FuseDaemon.build_command()
        ))?;
        lock(&RUNNING).push((thread::current().id(), child.id()));
        let mut mount = FuseMount { directory, mountpoint, child: Some(child) };
        match announcement {
            Some(announcement) => {
                if !announcement.arrives()? {
                    let status = wait_for("its end", EXIT_LIMIT, || mount.ended())
                        .when("the FUSE daemon closed --ready-fd without a word")?;
                    fail!("the FUSE daemon {}{}", in_words(status), mount.said());
                }
                require!(
                    is_fuse(&mount.mountpoint)?,
                    "the FUSE daemon announced a mount that is none{}",
                    mount.said()
                );
            }
            None => wait_for("the FUSE daemon's mount", MOUNT_LIMIT, || {
                if let Some(status) = mount.ended()? {
                    fail!("the FUSE daemon {}{}", in_words(status), mount.said());
                }
                Ok(is_fuse(&mount.mountpoint)?.then_some(()))
            })?,
        }
        Ok(mount)
    }

    /// The daemon that `vexfs.toml` names, or else the reference, built if missing; with its
    /// defaults.
    ///
    /// # Errors
    /// As [`FuseMount::start`].
    pub fn under_test() -> Result<FuseMount, Failure> {
        FuseMount::start(&build_if_missing()?, &[])
    }

    /// The mounted directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// The daemon's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Unmounts as a person does, and checks that nothing is left.
    ///
    /// # Errors
    /// It cannot be unmounted, the daemon does not end well, or something is left behind.
    pub fn unmount(mut self) -> Result<(), Failure> {
        self.unmount_point()?;
        self.check_end("being unmounted")
    }

    fn unmount_point(&self) -> Result<(), Failure> {
        if geteuid().is_root() {
            unmount(&self.mountpoint)
        } else {
            fusermount(&self.mountpoint, &["-u"])
        }
    }

    /// Unmounts with `fusermount3 -u`, whoever we are, and checks that nothing is left.
    ///
    /// # Errors
    /// As [`FuseMount::unmount`].
    pub fn fusermount(mut self) -> Result<(), Failure> {
        fusermount(&self.mountpoint, &["-u"])?;
        self.check_end("fusermount3 -u")
    }

    /// Ends the daemon by a signal, which must unmount, and checks that nothing is left.
    ///
    /// # Errors
    /// The daemon does not end well, or something is left behind.
    pub fn end_by(mut self, signal: Signal) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { fail!("the FUSE daemon has ended already") };
        kill(Pid::from_raw(pid.cast_signed()), signal)?;
        self.check_end(signal.as_str())
    }

    /// SIGKILL: it unmounts nothing. [`FuseMount::clean_up_after_kill`] comes next.
    ///
    /// # Errors
    /// It has ended already.
    pub fn kill(&self) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { fail!("the FUSE daemon has ended already") };
        Ok(kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?)
    }

    /// Unmounts what a killed daemon has left, as a person does, and checks that nothing is left.
    ///
    /// # Errors
    /// It was not killed, its mount cannot be taken down, or something is left behind.
    pub fn clean_up_after_kill(mut self) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { fail!("the FUSE daemon has ended already") };
        let (status, said) = self.end()?;
        require!(status.signal() == Some(libc::SIGKILL), "it {}{said}", in_words(status));
        self.unmount_point()?;
        self.nothing_is_left(pid, "SIGKILL")
    }

    /// Waits for the daemon's end, whatever brings it about: how it ended, and what it said.
    ///
    /// # Errors
    /// It does not end in time, or has ended before.
    pub fn end(&mut self) -> Result<(ExitStatus, String), Failure> {
        require!(self.child.is_some(), "the FUSE daemon has ended already");
        let status = wait_for("the FUSE daemon's end", EXIT_LIMIT, || self.ended())?;
        Ok((status, self.said()))
    }

    /// Checks what [`FuseMount::unmount`] checks, of a mount that is gone already.
    ///
    /// # Errors
    /// The daemon does not end well, or something is left behind.
    pub fn has_ended(mut self, cause: &str) -> Result<(), Failure> {
        self.check_end(cause)
    }

    /// The daemon has exited with 0, and nothing is left.
    fn check_end(&mut self, cause: &str) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { fail!("the FUSE daemon has ended already") };
        let status =
            wait_for(format!("the FUSE daemon's end after {cause}"), EXIT_LIMIT, || self.ended())?;
        require!(
            status.success(),
            "after {cause} the FUSE daemon {}{}",
            in_words(status),
            self.said()
        );
        self.nothing_is_left(pid, cause)
    }

    /// Nothing is mounted, the directory is empty, and no process of the daemon's group is left.
    fn nothing_is_left(&self, pid: u32, cause: &str) -> Result<(), Failure> {
        require!(
            !is_mounted(&self.mountpoint)?,
            "after {cause} {} is still mounted",
            self.mountpoint.display()
        );
        let left: Vec<_> = fs::read_dir(&self.mountpoint)?.flatten().map(|e| e.path()).collect();
        require!(left.is_empty(), "after {cause} the directory beneath holds {left:?}");
        let group = killpg(Pid::from_raw(pid.cast_signed()), None);
        require!(group.is_err(), "after {cause} a process of the FUSE daemon is left");
        // A helper that has been told to go may need a moment.
        let mut left = Vec::new();
        let gone = wait_for("", LINGER, || {
            left = left_behind::processes(&self.mountpoint);
            Ok(left.is_empty().then_some(()))
        });
        if gone.is_err() {
            let names: Vec<String> =
                left.iter().map(|one| format!("{} ({})", one.pid, one.name)).collect();
            fail!("after {cause} a process of the FUSE daemon is left: {}", names.join(", "));
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.forget_child();
        }
        Ok(status)
    }

    /// A child that was reaped: its number may be another's soon.
    fn forget_child(&mut self) -> Option<Child> {
        let child = self.child.take()?;
        lock(&RUNNING).retain(|&(_, pid)| pid != child.id());
        Some(child)
    }

    /// What the daemon has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    fn said(&self) -> String {
        let text = self.log();
        if text.trim().is_empty() { String::new() } else { format!(":\n{}", text.trim_end()) }
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        // Whatever has happened: no process, no mount. The processes go first, since whoever asks
        // anything of a mount waits for as long as a daemon that hangs has it.
        let mut child = self.forget_child();
        if let Some(child) = &child {
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
        }
        for process in left_behind::processes(&self.mountpoint) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        let mut reap = |limit| {
            if let Some(child) = &mut child {
                let _ = wait_for("", limit, || Ok(child.try_wait()?));
            }
        };
        reap(LINGER);
        // Detaching succeeds even while files are open, and fails only where nothing is mounted.
        if is_mounted(&self.mountpoint).unwrap_or(true) {
            if geteuid().is_root() {
                let _ = unmount_by_force(&self.mountpoint);
            } else {
                let _ = fusermount(&self.mountpoint, &["-u", "-z"]);
            }
        }
        // One that waits for an answer of its own ends when it is unmounted by force.
        reap(EXIT_LIMIT);
    }
}

/// Daemons that run, by the thread that started them.
static RUNNING: Mutex<Vec<(ThreadId, u32)>> = Mutex::new(Vec::new());

/// Ends the daemons that `thread` has started, and so whatever waits for an answer of theirs; how
/// many there were.
pub(crate) fn kill_daemons_of(thread: ThreadId) -> usize {
    let running = lock(&RUNNING);
    let theirs = running.iter().filter(|&&(starter, _)| starter == thread);
    theirs
        .map(|&(_, pid)| {
            let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        })
        .count()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How `vexfs.toml` has `program` mounted with `options`, by the mount point; `None` where the
/// program and its mounting are the reference's.
fn own_command(
    program: &Path,
    options: &[&str],
) -> Result<Option<impl FnOnce(&Path) -> Command>, Failure> {
    let config = config::current()?;
    let arguments = match (&config.fuse, &config.mount.fuse) {
        (None, None) => return Ok(None),
        (own, _) => own.as_ref().map(|own| own.arguments.clone()).unwrap_or_default(),
    };
    let mount = config.mount.fuse.clone().unwrap_or_else(|| config::Command {
        arguments: vec!["{options}".to_owned(), "{mountpoint}".to_owned()],
        ..config::Command::of("{program}".into())
    });
    let program = std::iter::once(program.display().to_string()).chain(arguments).collect();
    let options = options.iter().map(|&option| option.to_owned()).collect();
    Ok(Some(move |mountpoint: &Path| {
        let mountpoint = vec![mountpoint.display().to_string()];
        mount.filled(&[("program", program), ("options", options), ("mountpoint", mountpoint)])
    }))
}

fn fusermount(mountpoint: &Path, options: &[&str]) -> Result<(), Failure> {
    Running::start(Command::new("fusermount3").args(options).arg(mountpoint))?
        .finish(MOUNT_LIMIT)?
        .must_succeed(&format!("fusermount3 {}", options.join(" ")))
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
    }
}
