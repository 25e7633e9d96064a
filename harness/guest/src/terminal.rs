//! Lends the terminal to an interactive guest.

use std::io::{self, IsTerminal};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Pid, getpgrp};

/// Makes another process group the terminal's foreground group, which alone may read from it, and
/// takes that back when dropped.
#[derive(Debug)]
pub(super) struct TerminalForeground(());

impl TerminalForeground {
    pub(super) fn give_to(group: Pid) -> Self {
        set_foreground(group);
        TerminalForeground(())
    }
}

impl Drop for TerminalForeground {
    fn drop(&mut self) {
        set_foreground(getpgrp());
    }
}

/// Without a terminal there is nothing to do, and a terminal that refuses is gone.
fn set_foreground(group: Pid) {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return;
    }
    // A background process that does this is stopped by SIGTTOU unless it blocks the signal.
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTTOU);
    let mut before = SigSet::empty();
    let blocked = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), Some(&mut before));
    // SAFETY: tcsetpgrp(3) takes two integers; descriptor 0 is open, as it is a terminal.
    unsafe { libc::tcsetpgrp(0, group.as_raw()) };
    if blocked.is_ok() {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    }
}
