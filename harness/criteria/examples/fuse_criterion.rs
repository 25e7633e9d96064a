//! Criterion 1 as `tests/fuse.rs` runs it, for tests of what it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::fuse::trials())
}
