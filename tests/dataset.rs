//! Criterion 3, dataset and protocol equivalence: exactly the competitors' data, bit for bit, and
//! every contender's rows asked back.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::dataset::trials())
}
