//! Criterion 4, module stability: it is loaded, listed, used and unloaded hundreds of times,
//! without an oops, a warning, a taint, a leak or a leftover.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::module::trials())
}
