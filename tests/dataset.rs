//! Criterion 3, dataset and protocol equivalence: exactly the competitors' data, bit for bit, and
//! every contender is asked for its rows back.

use std::process::ExitCode;

fn main() -> ExitCode {
    criteria::main(criteria::dataset::trials())
}
