//! `vexfs-validate`: proves a VexFS kernel module inside a VM.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
