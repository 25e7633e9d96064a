//! Standard output: a reader that is gone (`| head`) is no error, and ends nothing that runs.

use std::fmt;
use std::io::{self, Write};

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

/// Writes `text`; where it cannot be, and somebody still wants it, standard error says so.
pub(super) fn put(text: fmt::Arguments<'_>) {
    if let Err(error) = put_into(&mut io::stdout().lock(), text) {
        // Nothing is left to tell it by.
        let _ = writeln!(io::stderr(), "vexfs-validate: standard output: {error}");
    }
}

/// Writes `text` to `to`, or to nobody.
pub(super) fn put_into(to: &mut impl Write, text: fmt::Arguments<'_>) -> io::Result<()> {
    match to.write_fmt(text).and_then(|()| to.flush()) {
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
