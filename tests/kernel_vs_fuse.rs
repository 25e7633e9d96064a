//! Criterion 5, kernel against FUSE: the same guest, data and queries, in pairs, at least 1.0x,
//! and the same answers bit for bit.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::kernel_vs_fuse::trials())
}
