//! Criterion 2, baseline: FUSE against the competitors, live and recorded, comparing like with
//! like.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::baseline::trials())
}
