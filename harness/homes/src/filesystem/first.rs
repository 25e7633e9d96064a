//! The first things that a new VexFS should do. `vexfs-validate try` checks them before anyone runs
//! hundreds of trials.

use super::capacity::SIZE_IS_A_LIMIT;
use super::operation::Operation;
use super::table::all_operations;

/// One of the first things.
#[derive(Clone, Copy)]
pub struct FirstThing {
    /// The operation that checks it.
    pub operation: Operation,
    /// A description for a person.
    pub title: &'static str,
}

/// Trials, with descriptions of what they show.
const OF_TRIALS: [(&str, &str); 6] = [
    ("write_and_read_back", "creates files, and reads back what was written"),
    ("mkdir_and_rmdir", "makes and removes directories"),
    ("rename", "renames"),
    ("unlink", "unlinks"),
    ("truncate", "truncates"),
    ("attach_and_search_exactly", "answers ATTACH and SEARCH (docs/contract.md)"),
];

/// All of them, in the order in which an author implements them.
pub fn first_things() -> Vec<FirstThing> {
    let all = all_operations();
    let trial = |&(name, title): &(&str, &'static str)| {
        let operation = *all.iter().find(|one| one.name == name)?;
        Some(FirstThing { operation, title })
    };
    let size = FirstThing { operation: SIZE_IS_A_LIMIT, title: "holds no more than size=1M" };
    OF_TRIALS.iter().filter_map(trial).chain([size]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_first_steps_but_one_are_trials() {
        assert_eq!(first_things().len(), OF_TRIALS.len() + 1);
    }
}
