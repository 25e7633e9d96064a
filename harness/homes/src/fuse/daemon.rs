//! A mounted FUSE daemon that is unmounted and reaped on every path.

use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::child::{Running, die_with_us, in_words, members};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::mount::{is_mounted, unmount};
use machine::under_test::{self, Program};
use machine::{fail, memory_limit, require};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use vexfs_uapi::Home;

use super::announcement::Announcement;
use super::connection::{self, Abort, Connection};
use super::elsewhere::MountsBefore;
use super::foreground::own_command;
use super::guardian::Watched;
use super::left_behind;
use super::memory::Held;
use super::not_started::{How, NotStarted};
use super::readiness::{Readiness, is_fuse, mount_limit, patience, serves};
use super::running;
use super::shown::as_run;
use super::words::Words;
use crate::is_own;

/// How long a daemon may take to end when it must.
const EXIT_LIMIT: Duration = Duration::from_secs(30);
/// How long to wait for another mount namespace to let go of the mount. Whoever makes one while it is
/// mounted (unshare(1), a service manager, a container) gets a mount of it as well.
const HELD_LIMIT: Duration = Duration::from_secs(180);
/// How long a daemon's helper may outlive it, and how long a killed daemon may outlive the signal.
const LINGER: Duration = Duration::from_secs(2);

/// A daemon that serves a mount point of its own.
#[derive(Debug)]
pub struct FuseMount {
    /// The directory that contains the mount point.
    directory: TempDir,
    mountpoint: PathBuf,
    /// `None` after it has exited.
    child: Option<Child>,
    /// How it exited.
    status: Option<ExitStatus>,
    /// The command that was run, for a person.
    command: String,
    words: Words,
    /// How much memory it held when it was killed for holding too much.
    held: Arc<Held>,
    /// The mounts before it was started; `None` once it serves the right mount point.
    elsewhere: Option<MountsBefore>,
    /// The connection's abort file, once it has mounted and if we may open the file.
    abort: Option<Abort>,
    /// The connection, once it has mounted.
    connection: Option<Connection>,
    _watched: Watched,
}

/// The daemon under test. Builds the reference if that is needed and it does not exist yet.
///
/// # Errors
/// If cargo cannot build it, or `vexfs.toml` is refused.
pub fn build_if_missing() -> Result<PathBuf, Failure> {
    Program::FuseDaemon.build_if_missing()
}

/// Explains why a daemon could not be started, and what to do about it.
fn not_started(command: &Command, error: io::Error) -> Failure {
    let program = Path::new(command.get_program());
    let is_own = is_own(Home::Fuse).unwrap_or_default();
    let hint = match error.kind() {
        _ if !is_own => {
            format!("build the reference with: {}", Program::FuseDaemon.build_command())
        }
        io::ErrorKind::NotFound if program.is_file() => {
            "the program exists, but the interpreter in its first line does not; that line must \
             not end in CR LF"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "chmod +x it, or name its interpreter first, as in python3 memfs.py".to_owned()
        }
        _ => "run it by hand to see what is missing".to_owned(),
    };
    Failure::from(error).context(format!("starting {} ({hint})", program.display()))
}

impl FuseMount {
    /// Starts `program` with `options` on an empty directory and waits until it has mounted. If it
    /// is the daemon that `vexfs.toml` names, its own arguments come first and it does not announce
    /// itself; any other program announces itself as the reference does.
    ///
    /// # Errors
    /// If the program cannot be run, ends, or does not mount in time; with its output.
    pub fn start(program: &Path, options: &[&str]) -> Result<FuseMount, Failure> {
        FuseMount::attempt(program, options).map_err(|not| not.failure)
    }

    /// As [`FuseMount::start`], but also tells in which way it does not start.
    ///
    /// # Errors
    /// As [`FuseMount::start`].
    pub fn attempt(program: &Path, options: &[&str]) -> Result<FuseMount, NotStarted> {
        if program == under_test::fuse_daemon()?
            && let Some(own) = own_command(program, options)?
        {
            return FuseMount::spawn(own, Readiness::Unannounced);
        }
        FuseMount::attempt_announced(program, options, Readiness::Descriptor)
    }

    /// Starts a `program` that announces itself with `readiness`; see [`FuseMount::start`].
    ///
    /// # Errors
    /// As [`FuseMount::start`].
    pub fn start_announced(
        program: &Path,
        options: &[&str],
        readiness: Readiness,
    ) -> Result<FuseMount, Failure> {
        FuseMount::attempt_announced(program, options, readiness).map_err(|not| not.failure)
    }

    fn attempt_announced(
        program: &Path,
        options: &[&str],
        readiness: Readiness,
    ) -> Result<FuseMount, NotStarted> {
        let command = |mountpoint: &Path| {
            let mut command = Command::new(program);
            command.args(options).arg(mountpoint);
            command
        };
        FuseMount::spawn(command, readiness)
    }

    /// Starts the command for the mount point, and waits until it serves there.
    fn spawn(
        command: impl FnOnce(&Path) -> Command,
        readiness: Readiness,
    ) -> Result<FuseMount, NotStarted> {
        let (mut mount, announcement) = FuseMount::run(command, readiness)?;
        match mount.becomes_ready(announcement) {
            Ok(()) => Ok(mount),
            Err(failure) => Err(NotStarted { how: mount.how_it_fails(), failure }),
        }
    }

    /// Starts the command for the mount point.
    fn run(
        command: impl FnOnce(&Path) -> Command,
        readiness: Readiness,
    ) -> Result<(FuseMount, Option<Announcement>), Failure> {
        let directory = tempfile::Builder::new().prefix("vexfs-fuse-").tempdir()?;
        // The path as it appears in the list of mounts.
        let mountpoint = directory.path().canonicalize()?.join("mnt");
        fs::create_dir(&mountpoint)?;
        let (stderr, words) = Words::stream()?;
        let mut command = command(&mountpoint);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
        command.env(left_behind::VARIABLE, &mountpoint);
        // SIGTERM makes the daemon unmount.
        die_with_us(&mut command, Signal::SIGTERM);
        memory_limit::without_ours(&mut command);
        let announcement = match readiness {
            Readiness::Descriptor => Some(Announcement::ordered(&mut command)?),
            Readiness::Unannounced => None,
        };
        let directory_of_mount = mountpoint.parent().unwrap_or(&mountpoint).to_owned();
        let elsewhere = Some(MountsBefore::now());
        let before = Watched::before_start(&directory_of_mount, &mountpoint);
        let child = command.spawn().map_err(|error| not_started(&command, error))?;
        let group = Pid::from_raw(child.id().cast_signed());
        let watched = Watched::new(group, &directory_of_mount, &mountpoint);
        drop(before);
        let held = running::add(child.id(), &mountpoint);
        let mount = FuseMount {
            directory,
            mountpoint,
            child: Some(child),
            status: None,
            command: as_run(&command),
            words,
            held,
            elsewhere,
            abort: None,
            connection: None,
            _watched: watched,
        };
        // Close our copy of the error stream, so that only the daemon has it.
        drop(command);
        Ok((mount, announcement))
    }

    /// In which way a daemon that does not become ready fails.
    fn how_it_fails(&self) -> How {
        match self.status {
            Some(status) if status.success() => How::Background,
            Some(_) => How::Ends,
            None if is_mounted(&self.mountpoint).unwrap_or(false) => How::NoAnswer,
            None => How::NoMount,
        }
    }

    /// Checks that the started program is the one that serves. A program that goes to the
    /// background ends within `limit`, while another process serves its mount.
    ///
    /// # Errors
    /// If the program has ended.
    pub fn stays(&mut self, limit: Duration) -> Result<(), NotStarted> {
        let ended = wait_for("", limit, || self.ended()).ok();
        let Some(status) = ended.or(self.status) else { return Ok(()) };
        Err(NotStarted { how: self.how_it_fails(), failure: self.ended_early(status) })
    }

    /// Waits until the daemon serves its mount.
    fn becomes_ready(&mut self, announcement: Option<Announcement>) -> Result<(), Failure> {
        match announcement {
            Some(announcement) => {
                if !announcement.arrives()? {
                    let status = wait_for("its end", patience(EXIT_LIMIT), || self.ended())
                        .context(
                            "the FUSE daemon closed --ready-fd without announcing its mount",
                        )?;
                    return Err(self.ended_early(status));
                }
                require!(
                    is_fuse(&self.mountpoint)?,
                    "the FUSE daemon announced its mount, but no FUSE file system is mounted{}",
                    self.said()
                );
            }
            None => wait_for("the FUSE daemon's mount", mount_limit(), || {
                if let Some(status) = self.ended()? {
                    return Err(self.ended_early(status));
                }
                Ok(is_fuse(&self.mountpoint)?.then_some(()))
            })
            .map_err(|failure| match self.child {
                Some(_) => failure.and_then(format!(
                    "{}; it runs as: {}{}",
                    self.mounted_elsewhere(),
                    self.command,
                    self.said()
                )),
                None => failure,
            })?,
        }
        self.elsewhere = None;
        let connection = Connection::of(&self.mountpoint)?;
        self.connection.clone_from(&connection);
        self.abort = connection.as_ref().and_then(Abort::of);
        if let Some(child) = &self.child {
            running::connected(child.id(), connection);
        }
        serves(&self.mountpoint).map_err(|failure| failure.and_then(self.now()))
    }

    /// The places where it mounted instead, as far as that can be told.
    fn mounted_elsewhere(&self) -> String {
        let since = self.elsewhere.as_ref().map(MountsBefore::since).unwrap_or_default();
        let paths: Vec<String> = since.iter().map(|path| path.display().to_string()).collect();
        match paths.is_empty() {
            true => String::new(),
            false => format!(", but {} was mounted meanwhile", paths.join(", ")),
        }
    }

    /// Explains the failure of a daemon that ended although it had to continue.
    fn ended_early(&self, status: ExitStatus) -> Failure {
        let mounted = is_mounted(&self.mountpoint).unwrap_or(false);
        let hint = match (status.success(), mounted) {
            (true, true) => {
                "; it has mounted and gone to the background, and has to stay in the foreground \
                 (-f where libfuse parses the arguments)"
            }
            (true, false) => {
                "; it has to serve until it is unmounted, in the foreground (-f where libfuse \
                 parses the arguments)"
            }
            (false, _) => "",
        };
        let (command, said) = (&self.command, self.said());
        Failure::new(format!(
            "the FUSE daemon {}{hint}; it was run as: {command}{said}",
            self.how_it_ended(status)
        ))
    }

    /// How it ended: killed for its memory, or in another way.
    fn how_it_ended(&self, status: ExitStatus) -> String {
        self.held.in_words().unwrap_or_else(|| in_words(status))
    }

    /// The failure of a daemon that had already ended before `cause` was to end it.
    fn gone_before(&self, cause: &str) -> Failure {
        match self.status {
            Some(status) => self.ended_early(status).context(format!("before {cause}")),
            None => Failure::new("the FUSE daemon has ended already"),
        }
    }

    /// The daemon's state, if that may explain a failure; empty while it runs normally.
    #[must_use]
    pub fn now(&mut self) -> String {
        // Whoever sees the end first records it.
        let _ = self.ended();
        // A killed daemon may take a moment to end.
        let how = self.held.in_words().or_else(|| self.status.map(in_words));
        how.map_or_else(String::new, |how| {
            format!("; by then the FUSE daemon {how}{}", self.last_words())
        })
    }

    /// Adds to `failure` the daemon's state, if that may explain it. A connection that is gone
    /// shows that the daemon is ending.
    #[must_use]
    pub fn explain(&mut self, failure: Failure) -> Failure {
        let gone = matches!(failure.errno(), Some(Errno::ENOTCONN | Errno::ECONNABORTED));
        if gone && self.child.is_some() {
            let _ = wait_for("", LINGER, || self.ended());
        }
        failure.and_then(self.now())
    }

    /// The daemon that `vexfs.toml` names, or else the reference, which is built if missing;
    /// without options.
    ///
    /// # Errors
    /// As [`FuseMount::start`].
    pub fn under_test() -> Result<FuseMount, Failure> {
        FuseMount::for_trial(&[])
    }

    /// The mounted directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// The daemon's process id, while it is running.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Unmounts as a user would, and checks that nothing is left.
    ///
    /// # Errors
    /// If it cannot be unmounted, the daemon fails, or something is left behind.
    pub fn unmount(mut self) -> Result<(), Failure> {
        let unmounted = self.unmount_point();
        unmounted.map_err(|failure| self.explain(failure))?;
        self.check_end("being unmounted")
    }

    fn unmount_point(&self) -> Result<(), Failure> {
        if geteuid().is_root() {
            unmount(&self.mountpoint)
        } else {
            fusermount(&self.mountpoint, &["-u"])
        }
    }

    /// Unmounts with `fusermount3 -u`, even as root, and checks that nothing is left.
    ///
    /// # Errors
    /// As [`FuseMount::unmount`].
    pub fn fusermount(mut self) -> Result<(), Failure> {
        let unmounted = fusermount(&self.mountpoint, &["-u"]);
        unmounted.map_err(|failure| self.explain(failure))?;
        self.check_end("fusermount3 -u")
    }

    /// Ends the daemon with a signal, which must make it unmount, and checks that nothing is left.
    /// The exit status matters only for the reference: other daemons may choose it, and libfuse
    /// reports the signal's number in it.
    ///
    /// # Errors
    /// If the daemon does not end, the reference fails, or something is left behind.
    pub fn end_by(mut self, signal: Signal) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { return Err(self.gone_before(signal.as_str())) };
        kill(Pid::from_raw(pid.cast_signed()), signal)?;
        if !is_own(Home::Fuse)? {
            return self.check_end(signal.as_str());
        }
        self.ended_busy(signal)
    }

    /// Sends SIGKILL, after which the daemon unmounts nothing. Call
    /// [`FuseMount::clean_up_after_kill`] next.
    ///
    /// # Errors
    /// If the daemon has ended already.
    pub fn kill(&self) -> Result<(), Failure> {
        self.signal(Signal::SIGKILL)
    }

    /// Sends `signal`. Call one of [`FuseMount::end`], [`FuseMount::ended_busy`] and
    /// [`FuseMount::clean_up_after_kill`] next.
    ///
    /// # Errors
    /// If the daemon has ended already.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { fail!("the FUSE daemon has ended already") };
        Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
    }

    /// Waits for the end of a daemon that got `signal` while its mount was in use, accepts any exit
    /// status, and checks that nothing is left.
    ///
    /// # Errors
    /// If the daemon does not end, or something is left behind.
    pub fn ended_busy(mut self, signal: Signal) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { return Err(self.gone_before(signal.as_str())) };
        let what = format!("the FUSE daemon's end after {signal}");
        self.wait_for_end(&what)?;
        self.nothing_is_left(pid, signal.as_str())
    }

    /// Unmounts what a killed daemon has left, as a user would, and checks that nothing is left.
    ///
    /// # Errors
    /// If it was not killed, its mount cannot be taken down, or something is left behind.
    pub fn clean_up_after_kill(mut self) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { fail!("the FUSE daemon has ended already") };
        let (status, said) = self.end()?;
        require!(status.signal() == Some(libc::SIGKILL), "it {}{said}", in_words(status));
        self.unmount_point()?;
        self.nothing_is_left(pid, "SIGKILL")
    }

    /// Waits for the daemon's end, whatever causes it; returns how it ended, and its output.
    ///
    /// # Errors
    /// If it does not end in time, or had ended before.
    pub fn end(&mut self) -> Result<(ExitStatus, String), Failure> {
        require!(self.child.is_some(), "the FUSE daemon has ended already");
        let status = self.wait_for_end("the FUSE daemon's end")?;
        Ok((status, self.said()))
    }

    /// Checks the same as [`FuseMount::unmount`] for a mount that has already gone.
    ///
    /// # Errors
    /// If the daemon fails, or something is left behind.
    pub fn has_ended(mut self, cause: &str) -> Result<(), Failure> {
        self.check_end(cause)
    }

    /// Waits for `what`, the daemon's end. While its mount still exists in another mount namespace
    /// the daemon rightly goes on serving, so the limit counts from when it is gone there.
    fn wait_for_end(&mut self, what: &str) -> Result<ExitStatus, Failure> {
        let held_until = Instant::now() + HELD_LIMIT;
        let mut was_held = false;
        loop {
            let failure = match wait_for(what, patience(EXIT_LIMIT), || self.ended()) {
                Ok(status) => return Ok(status),
                Err(failure) => failure,
            };
            let holders = self.connection.as_ref().map(Connection::holders_elsewhere);
            let holders = holders.unwrap_or_default().join(", ");
            if holders.is_empty() && !was_held {
                return Err(failure);
            }
            was_held = !holders.is_empty();
            if was_held && Instant::now() >= held_until {
                return Err(failure.and_then(format!(
                    "; its mount still exists in the mount namespace of process {holders}, and \
                     the daemon has to serve it there: end that process, and repeat the trial"
                )));
            }
        }
    }

    /// Checks that the daemon has exited with 0 and that nothing is left.
    fn check_end(&mut self, cause: &str) -> Result<(), Failure> {
        let Some(pid) = self.pid() else { return Err(self.gone_before(cause)) };
        let what = format!("the FUSE daemon's end after {cause}");
        let status = self.wait_for_end(&what)?;
        require!(
            status.success(),
            "after {cause} the FUSE daemon {}{}",
            self.how_it_ended(status),
            self.said()
        );
        self.nothing_is_left(pid, cause)
    }

    /// Checks that nothing is mounted, the directory is empty, and no process of the daemon's group
    /// is left.
    fn nothing_is_left(&self, pid: u32, cause: &str) -> Result<(), Failure> {
        if let Some(held) = self.held.in_words() {
            fail!("the FUSE daemon {held}");
        }
        require!(
            !is_mounted(&self.mountpoint)?,
            "after {cause} {} is still mounted",
            self.mountpoint.display()
        );
        let left: Vec<_> = fs::read_dir(&self.mountpoint)?.flatten().map(|e| e.path()).collect();
        require!(
            left.is_empty(),
            "after {cause} the directory beneath the mount contains {left:?}"
        );
        let mut left = Vec::new();
        let ended = wait_for("", LINGER, || {
            left = members(Pid::from_raw(pid.cast_signed()))?;
            Ok(left.is_empty().then_some(()))
        });
        if ended.is_err() {
            let names: Vec<String> =
                left.iter().map(|(pid, name)| format!("{pid} ({name})")).collect();
            fail!("after {cause} a process of the FUSE daemon is left: {}", names.join(", "));
        }
        // A helper that has been told to end may need a moment.
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
            self.status = status;
            self.forget_child();
        }
        Ok(status)
    }

    /// Forgets a child that has been reaped, because another process may soon have its id.
    fn forget_child(&mut self) -> Option<Child> {
        let child = self.child.take()?;
        running::forget(child.id());
        Some(child)
    }

    /// The daemon's output so far.
    #[must_use]
    pub fn log(&self) -> String {
        if self.child.is_some() { self.words.so_far() } else { self.words.to_the_end() }
    }

    fn said(&self) -> String {
        let text = self.log();
        if text.trim().is_empty() { String::new() } else { format!(":\n{}", text.trim_end()) }
    }

    /// The end of its output, for a failure that is about something else.
    fn last_words(&self) -> String {
        const LINES: usize = 10;
        let text = self.log();
        let lines: Vec<&str> = text.trim_end().lines().collect();
        match lines[lines.len().saturating_sub(LINES)..].join("\n") {
            none if none.is_empty() => " without a word".to_owned(),
            last => format!("; its last words:\n{last}"),
        }
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        // In any case, leave no process and no mount. End requests first, because a daemon that
        // waits for its own mount does not react to SIGKILL.
        let directory = self.mountpoint.parent().unwrap_or(&self.mountpoint).to_owned();
        let mut child = self.forget_child();
        if child.is_some()
            && let Ok(Some(connection)) = Connection::of(&self.mountpoint)
        {
            connection.abort();
        }
        self.abort = None;
        if let Some(child) = &child {
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
        }
        left_behind::kill(&self.mountpoint);
        if !connection::detach_all(&directory) {
            // Do not walk into a mount that hangs. Name it instead of hiding it.
            eprintln!("{}: a mount could not be taken down", directory.display());
            self.directory.disable_cleanup(true);
        }
        if let Some(child) = &mut child {
            let _ = wait_for("", EXIT_LIMIT, || Ok(child.try_wait()?));
        }
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.take_down();
        }
    }
}

fn fusermount(mountpoint: &Path, options: &[&str]) -> Result<(), Failure> {
    Running::start(Command::new("fusermount3").args(options).arg(mountpoint))?
        .finish(mount_limit())?
        .must_succeed(&format!("fusermount3 {}", options.join(" ")))
}
