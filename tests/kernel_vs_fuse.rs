//! Criterion 5, kernel against FUSE: in the same guest, on the same data and queries, measured in
//! pairs, at least 1.0x, with the same answers bit for bit.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::kernel_vs_fuse::trials())
}
