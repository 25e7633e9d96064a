//! How a daemon announces that it is serving: `--ready-fd`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::pipe2;

use super::readiness::mount_limit;

/// How many milliseconds a wait sleeps before it checks the limit again.
const POLL_SLICE: u16 = 100;

/// The pipe on which a daemon announces that it is serving.
pub(super) struct Announcement {
    hear: OwnedFd,
    /// The daemon's end, which this process holds only until the daemon has it.
    tell: OwnedFd,
}

impl Announcement {
    /// Makes `command` announce itself.
    pub(super) fn ordered(command: &mut Command) -> Result<Announcement, Failure> {
        let (hear, tell) = pipe2(OFlag::O_CLOEXEC)?;
        let number = tell.as_raw_fd();
        command.arg(format!("--ready-fd={number}"));
        // SAFETY: between fork and exec only fcntl(2) is called, which is async-signal-safe, on a
        // descriptor that this announcement keeps open.
        unsafe {
            command.pre_exec(move || match libc::fcntl(number, libc::F_SETFD, 0) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        Ok(Announcement { hear, tell })
    }

    /// Waits for the line. Returns false if the daemon closed its end without writing one.
    pub(super) fn arrives(self) -> Result<bool, Failure> {
        drop(self.tell);
        wait_for("the FUSE daemon's announcement", mount_limit(), || {
            let mut fds = [PollFd::new(self.hear.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, POLL_SLICE) {
                Ok(0) | Err(Errno::EINTR) => Ok(None),
                Ok(_) => Ok(Some(())),
                Err(errno) => Err(Failure::from(errno)).context("waiting for --ready-fd"),
            }
        })?;
        Ok(File::from(self.hear).read(&mut [0; 16])? > 0)
    }
}
