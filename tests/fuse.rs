//! Criterion 1, FUSE preservation: it mounts, writes, reads, behaves as a file system, unmounts,
//! and leaves nothing behind, before the module is loaded, while it is, and afterwards.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::fuse::trials())
}
