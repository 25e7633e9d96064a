//! What a daemon says on its error stream: its first and its last words, however much it says.

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

/// Bytes kept of its beginning, and as many of its end.
const KEPT: usize = 64 << 10;

/// How long what a daemon said may be on its way after its end; whoever else has the stream open
/// may keep it for longer.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct KeptWords {
    first: Vec<u8>,
    last: Vec<u8>,
    /// Bytes that were between them.
    lost: usize,
}

impl KeptWords {
    fn add(&mut self, mut bytes: &[u8]) {
        let (begin, rest) = bytes.split_at(bytes.len().min(KEPT - self.first.len()));
        self.first.extend_from_slice(begin);
        bytes = rest;
        self.last.extend_from_slice(bytes);
        // Not at each piece: moving the end costs as much as it is long.
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

/// A daemon's error stream, which is read as it comes: a daemon never waits for us to read.
#[derive(Debug)]
pub(super) struct Words {
    kept: Arc<Mutex<KeptWords>>,
    reader: JoinHandle<()>,
}

impl Words {
    /// The stream, to be given to the daemon, and what is heard on it.
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

    /// What was heard so far.
    pub(super) fn so_far(&self) -> String {
        lock(&self.kept).text()
    }

    /// All that was said by a daemon that has ended.
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
        // The command holds our end as well.
        let status = Command::new("sh").args(["-c", script]).stdout(stream).status();
        assert!(status.unwrap().success());
        let text = words.to_the_end();
        assert!(text.starts_with("first\n") && text.ends_with("last\n"), "{}", text.len());
        assert!(text.len() < 4 * KEPT && text.contains("bytes are left out"), "{}", text.len());
    }
}
