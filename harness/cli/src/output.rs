//! Writes to standard output. A reader that has closed the pipe (`| head`) is no error, and ends no
//! work.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use evidence::exit;

/// Like `println!`, which would panic when the reader is gone.
macro_rules! outln {
    ($($arguments:tt)*) => {
        $crate::output::put(format_args!("{}\n", format_args!($($arguments)*)))
    };
}

/// Like `print!`, which would panic when the reader is gone.
macro_rules! out {
    ($($arguments:tt)*) => { $crate::output::put(format_args!($($arguments)*)) };
}

pub(super) use {out, outln};

/// Whether some output could not be written although its reader is still there.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes `text`. If that fails although the reader is still there, prints one message on standard
/// error, and [`exit_code`] will tell.
pub(super) fn put(text: fmt::Arguments<'_>) {
    wrote(put_into(&mut io::stdout().lock(), text));
}

/// Handles the result of writing to standard output.
pub(super) fn wrote(done: io::Result<()>) {
    if let Err(error) = done
        && !LOST.swap(true, Ordering::SeqCst)
    {
        // If this fails as well, there is no way left to report it.
        let _ = writeln!(
            io::stderr(),
            "vexfs-validate: standard output cannot be written: {error}; name another file behind >"
        );
    }
}

/// `code`, or [`exit::EVIDENCE`] if the command succeeded but its output could not be written.
pub(super) fn exit_code(code: ExitCode) -> ExitCode {
    let well = code == ExitCode::SUCCESS;
    if well && LOST.load(Ordering::SeqCst) { exit::EVIDENCE.into() } else { code }
}

/// Writes `text` to `to`; a closed pipe is no error.
pub(super) fn put_into(to: &mut impl Write, text: fmt::Arguments<'_>) -> io::Result<()> {
    or_gone(to.write_fmt(text).and_then(|()| to.flush()))
}

/// Turns the error of a closed pipe into success.
pub(super) fn or_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_reader_that_is_gone_is_no_error() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        put_into(&mut writer, format_args!("{}", "text".repeat(100_000))).unwrap();
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let failed = put_into(&mut full, format_args!("text")).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(libc::ENOSPC));
    }
}
