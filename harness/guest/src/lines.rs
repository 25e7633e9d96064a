//! Reads a child's output so fast that the child hardly ever has to wait.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Longer lines are passed on in pieces, so that a program that prints no newline cannot fill the
/// memory.
const LONGEST_LINE: usize = 64 * 1024;

/// How many lines may wait for the supervisor before the reader waits for it.
const BACKLOG: usize = 1024;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// The command's standard output and error.
    Output,
    /// The guest's console, and what QEMU and virtme-ng say themselves.
    Console,
}

/// What a reader reports.
#[derive(Debug)]
pub(super) enum ConsoleEvent {
    /// A line, without its end.
    Line(Stream, String),
    /// One of the streams has ended.
    End,
}

/// The channel on which readers report to the supervisor.
pub(super) fn channel() -> (SyncSender<ConsoleEvent>, Receiver<ConsoleEvent>) {
    sync_channel(BACKLOG)
}

/// Reads `source` to its end in a thread of its own. The thread ends when the source ends or the
/// receiver is dropped.
pub(super) fn read(
    stream: Stream,
    source: impl Read + Send + 'static,
    report: SyncSender<ConsoleEvent>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("{stream:?}").to_lowercase()).spawn(move || {
        let mut source = BufReader::new(source);
        while let Some(line) = next_line(&mut source) {
            if report.send(ConsoleEvent::Line(stream, line)).is_err() {
                return;
            }
        }
        // If the supervisor has given up on the pipe, nobody receives this.
        let _ = report.send(ConsoleEvent::End);
    })
}

/// The next line or piece of a line; `None` at the end and on any error, after which the pipe is of
/// no use.
fn next_line(source: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    let read = source.take(LONGEST_LINE as u64).read_until(b'\n', &mut bytes).ok()?;
    if read == 0 {
        return None;
    }
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        let mut source = BufReader::new(text);
        std::iter::from_fn(|| next_line(&mut source)).collect()
    }

    #[test]
    fn lines_lose_their_ends_only() {
        assert_eq!(lines(b"a\r\n\nb \xff\nlast"), ["a", "", "b \u{fffd}", "last"]);
    }

    #[test]
    fn endless_lines_come_in_pieces() {
        let pieces = lines(&vec![b'x'; LONGEST_LINE + 1]);
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [LONGEST_LINE, 1]);
    }

    #[test]
    fn the_end_is_reported() {
        let (report, events) = channel();
        read(Stream::Output, &b"one\n"[..], report).unwrap().join().unwrap();
        assert!(
            matches!(events.recv(), Ok(ConsoleEvent::Line(Stream::Output, line)) if line == "one")
        );
        assert!(matches!(events.recv(), Ok(ConsoleEvent::End)));
        assert!(events.recv().is_err());
    }
}
