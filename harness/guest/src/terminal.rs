//! Lends the terminal to an interactive guest.

use std::io::{self, IsTerminal};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Pid, getpgrp};

/// Makes another process group the terminal's foreground group, the only one that may read from the
/// terminal, and takes the terminal back when dropped.
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

/// Does nothing without a terminal. An error is ignored, because a terminal that refuses this is
/// gone.
fn set_foreground(group: Pid) {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return;
    }
    // A background process that calls this is stopped by SIGTTOU unless it blocks the signal.
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
