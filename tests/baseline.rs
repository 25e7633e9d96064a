//! Criterion 2, baseline: FUSE against the competitors, live and recorded, like with like.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::trial::main(harness::criteria::baseline::trials())
}
