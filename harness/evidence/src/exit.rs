//! Exit codes of `vexfs-validate`, in one table (also in `docs/exit-codes.md` and `--help`).

use std::process::ExitCode;

/// A documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The number.
    pub code: u8,
    /// What it means.
    pub meaning: &'static str,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code)
    }
}

macro_rules! exits {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $meaning:literal;)+) => {
        $($(#[$doc])* pub const $name: Exit = Exit { code: $code, meaning: $meaning };)+
        /// All of them, in order.
        pub const ALL: &[Exit] = &[$($name),+];
    };
}

exits! {
    /// Success.
    SUCCESS = 0, "all five criteria PASS, or those of --only; or the command did what it was asked";
    /// A criterion fails.
    FAIL = 1, "a criterion, soak, comparison or try FAILs, something got slower, or a guest command exited 1";
    /// Bad command line.
    USAGE = 2, "the command line cannot be understood, or an answer to init cannot be used";
    /// Not decided.
    INCONCLUSIVE = 3, "none FAILs, but one is INCONCLUSIVE: not run, damaged, undecided; or a saboteur is missing";
    /// Permission was refused.
    REFUSED = 4, "an attestation does not hold for the given file or kernel, or the gate stays shut";
    /// The machine lacks something.
    SETUP = 10, "something is missing on this machine, or vexfs.toml is refused; the message says what to do";
    /// The guest never came up.
    BOOT = 11, "the guest did not boot within its limit";
    /// Kernel panic.
    PANIC = 12, "the guest's kernel panicked";
    /// Oops.
    OOPS = 13, "the guest's kernel reported an oops or BUG";
    /// Lock-up.
    LOCKUP = 14, "the guest's kernel reported a lock-up, stall or hung task";
    /// Silence.
    SILENT = 15, "the guest printed nothing for longer than its limit";
    /// Too long.
    TIMEOUT = 16, "the guest's command ran longer than its limit";
    /// Gone.
    DIED = 17, "the guest ended without a status";
    /// Evidence could not be written or read.
    EVIDENCE = 20, "evidence, standard output or another file that was asked for cannot be written or read";
    /// Ctrl-C.
    INTERRUPTED = 130, "interrupted; everything that was started has been stopped";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_documented() {
        let page = include_str!("../../../docs/exit-codes.md");
        for (index, exit) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.code != exit.code), "{}", exit.code);
            let row = format!("| {} | {} |", exit.code, exit.meaning);
            assert!(page.contains(&row), "docs/exit-codes.md lacks the row: {row}");
        }
    }
}
