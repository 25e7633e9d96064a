//! Runs criterion 1 as `tests/fuse.rs` does, for tests of its output.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::fuse::trials())
}
