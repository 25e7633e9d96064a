//! Criterion 4, module stability: load, in the module list, used, unloaded, hundreds of times,
//! without an oops, a warning, a taint, a leak or a leftover.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::module::trials())
}
