//! A check that has never failed proves nothing: every saboteur must be found, for the right
//! reason, and nobody else may be accused.

use std::process::ExitCode;

fn main() -> ExitCode {
    saboteurs::main()
}
