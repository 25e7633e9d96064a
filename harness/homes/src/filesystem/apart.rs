//! Runs an operation in a process of its own, which a faulty file system may kill or block for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use machine::failure::{Failure, WithContext};
use machine::{fail, part};
use serde::{Deserialize, Serialize};

use super::first::first_things;
use super::operation::Operation;
use super::table::all_operations;

/// The name of the part that tries an operation.
pub const PART: &str = "operation";

/// The operation that the part must try.
#[derive(Serialize, Deserialize)]
struct ApartRequest {
    operation: String,
    mount: PathBuf,
}

/// The result of the operation: `None`, or a failure.
type ApartAnswer = Option<Failure>;

impl Operation {
    /// Runs [`Operation::run`] in a process of its own, which must end within `limit`.
    ///
    /// # Errors
    /// As [`Operation::run`]; also the signal that ended the process, or that it was not done in
    /// time.
    pub fn run_apart(&self, mount: &Path, limit: Duration) -> Result<(), Failure> {
        let order = ApartRequest { operation: self.name.to_owned(), mount: mount.to_owned() };
        let outcome: part::Answered<ApartAnswer> =
            part::ask(part::command(PART, &order)?, limit).context(self.name)?;
        outcome.answer.map_or(Ok(()), Err)
    }
}

/// Runs the operation of the part's order.
///
/// # Errors
/// If the order cannot be carried out. A failure of the operation itself is its answer.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: ApartRequest = serde_json::from_str(order)?;
    let first = first_things().into_iter().map(|thing| thing.operation);
    let mut all = all_operations().into_iter().chain(first);
    let Some(operation) = all.find(|one| one.name == order.operation) else {
        fail!("no operation is called {}", order.operation);
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| operation.run(&order.mount)))
        .unwrap_or_else(|panic| Err(Failure::of_panic(&*panic)));
    part::answer(&ApartAnswer::from(outcome.err()))
}
