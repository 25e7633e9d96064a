//! Handles SIGINT, SIGTERM and SIGHUP while something runs that must be cleaned up.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Flags of the whole process, because signals are sent to the whole process.
struct Flags {
    /// One of the signals has arrived.
    came: Arc<AtomicBool>,
    /// Nobody is watching: the signals have their default action.
    idle: Arc<AtomicBool>,
}

/// While this lives, SIGINT, SIGTERM and SIGHUP set a flag instead of ending the process.
#[derive(Debug)]
pub struct Signals(());

impl Signals {
    /// Starts watching. Watches do not nest: dropping the first one ends all of them.
    pub fn begin() -> io::Result<Self> {
        let flags = flags()?;
        flags.came.store(false, Ordering::SeqCst);
        flags.idle.store(false, Ordering::SeqCst);
        Ok(Signals(()))
    }

    /// Whether one of the signals has arrived since [`Signals::begin`].
    pub fn interrupted(&self) -> bool {
        interrupted()
    }
}

/// Whether somebody is watching and one of the signals has arrived; for code that has no access to
/// the [`Signals`].
pub fn interrupted() -> bool {
    FLAGS.get().is_some_and(|flags| {
        !flags.idle.load(Ordering::SeqCst) && flags.came.load(Ordering::SeqCst)
    })
}

impl Drop for Signals {
    fn drop(&mut self) {
        if let Some(flags) = FLAGS.get() {
            flags.idle.store(true, Ordering::SeqCst);
        }
    }
}

static FLAGS: OnceLock<Flags> = OnceLock::new();
static INSTALLATION: Mutex<()> = Mutex::new(());

fn flags() -> io::Result<&'static Flags> {
    let _one_at_a_time = INSTALLATION.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(flags) = FLAGS.get() {
        return Ok(flags);
    }
    let flags = Flags { came: Arc::default(), idle: Arc::new(AtomicBool::new(true)) };
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // signal-hook cannot restore the default action when a handler is removed, so the handler
        // stays and performs the default action itself while nobody watches.
        flag::register_conditional_default(signal, Arc::clone(&flags.idle))?;
        flag::register(signal, Arc::clone(&flags.came))?;
    }
    Ok(FLAGS.get_or_init(|| flags))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::child::Running;

    #[test]
    fn a_signal_is_noticed_while_watched() {
        let signals = Signals::begin().unwrap();
        assert!(!signals.interrupted());
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert!(signals.interrupted() && interrupted());
        let child = Running::start(Command::new("sleep").arg("1000")).unwrap().until(interrupted);
        let said = child.finish(Duration::from_secs(60)).unwrap_err().to_string();
        assert!(said.starts_with("interrupted while waiting for sleep"), "{said}");
        drop(signals);
        assert!(!interrupted());
        assert!(!Signals::begin().unwrap().interrupted());
    }
}
