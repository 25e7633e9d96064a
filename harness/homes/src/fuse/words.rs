//! The output of a daemon on its error stream: the first and the last part, however much it writes.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::Failure;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// How many bytes are kept of the beginning, and how many of the end.
const KEPT: usize = 64 << 10;

/// How long to wait for output after the daemon has ended; any other process that has the stream
/// open may keep it open for longer.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct KeptWords {
    first: Vec<u8>,
    last: Vec<u8>,
    /// How many bytes between them were dropped.
    lost: usize,
}

impl KeptWords {
    fn add(&mut self, mut bytes: &[u8]) {
        let (begin, rest) = bytes.split_at(bytes.len().min(KEPT - self.first.len()));
        self.first.extend_from_slice(begin);
        bytes = rest;
        self.last.extend_from_slice(bytes);
        // Not after each piece, because moving the end takes time in proportion to its length.
        if self.last.len() > 2 * KEPT {
            let more = self.last.len() - KEPT;
            self.last.drain(..more);
            self.lost += more;
        }
    }

    fn text(&self) -> String {
        let between = match self.lost {
            0 => String::new(),
            lost => format!("\n[{lost} bytes are left out]\n"),
        };
        let (first, last) = (&self.first, &self.last);
        format!("{}{between}{}", String::from_utf8_lossy(first), String::from_utf8_lossy(last))
    }
}

/// A daemon's error stream. It is read continuously, so a daemon never waits for a reader.
#[derive(Debug)]
pub(super) struct Words {
    kept: Arc<Mutex<KeptWords>>,
    reader: JoinHandle<()>,
}

impl Words {
    /// The stream to give to the daemon, and a reader of its output.
    pub(super) fn stream() -> Result<(Stdio, Words), Failure> {
        let (hear, tell) = pipe2(OFlag::O_CLOEXEC)?;
        let kept = Arc::new(Mutex::new(KeptWords::default()));
        let hearing = Arc::clone(&kept);
        let reader = thread::spawn(move || {
            let mut stream = File::from(hear);
            let mut piece = [0; 8192];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                lock(&hearing).add(&piece[..length]);
            }
        });
        Ok((tell.into(), Words { kept, reader }))
    }

    /// The output so far.
    pub(super) fn so_far(&self) -> String {
        lock(&self.kept).text()
    }

    /// The complete output of a daemon that has ended.
    pub(super) fn to_the_end(&self) -> String {
        let _ = wait_for("", LINGER, || Ok(self.reader.is_finished().then_some(())));
        self.so_far()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_daemon_that_talks_without_end_is_cut_short() {
        let (stream, words) = Words::stream().unwrap();
        let script = "echo first; yes | head -c 10000000; echo last";
        // The command also holds our end of the stream.
        let status = Command::new("sh").args(["-c", script]).stdout(stream).status();
        assert!(status.unwrap().success());
        let text = words.to_the_end();
        assert!(text.starts_with("first\n") && text.ends_with("last\n"), "{}", text.len());
        assert!(text.len() < 4 * KEPT && text.contains("bytes are left out"), "{}", text.len());
    }
}
