//! Standard output: a reader that is gone (`| head`) is no error, and ends nothing that runs.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use evidence::exit;

/// As `println!`, which panics where the reader is gone.
macro_rules! outln {
    ($($arguments:tt)*) => {
        $crate::output::put(format_args!("{}\n", format_args!($($arguments)*)))
    };
}

/// As `print!`, which panics where the reader is gone.
macro_rules! out {
    ($($arguments:tt)*) => { $crate::output::put(format_args!($($arguments)*)) };
}

pub(super) use {out, outln};

/// Whether something that somebody wants was not written.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes `text`; where it cannot be, and somebody still wants it, standard error says so once, and
/// [`exit_code`] tells.
pub(super) fn put(text: fmt::Arguments<'_>) {
    wrote(put_into(&mut io::stdout().lock(), text));
}

/// What became of writing to standard output.
pub(super) fn wrote(done: io::Result<()>) {
    if let Err(error) = done
        && !LOST.swap(true, Ordering::SeqCst)
    {
        // Nothing is left to tell it by.
        let _ = writeln!(
            io::stderr(),
            "vexfs-validate: standard output cannot be written: {error}; name another file behind >"
        );
    }
}

/// `code`, or [`exit::EVIDENCE`] where all went well but for what was to be read of it.
pub(super) fn exit_code(code: ExitCode) -> ExitCode {
    let well = code == ExitCode::SUCCESS;
    if well && LOST.load(Ordering::SeqCst) { exit::EVIDENCE.into() } else { code }
}

/// Writes `text` to `to`, or to nobody.
pub(super) fn put_into(to: &mut impl Write, text: fmt::Arguments<'_>) -> io::Result<()> {
    or_gone(to.write_fmt(text).and_then(|()| to.flush()))
}

/// `done`, for which a reader that is gone is no error.
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
