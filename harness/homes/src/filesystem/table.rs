//! The operations that both homes are tried with, as a table.

use super::operation::{Effort, Operation};
use super::{
    allocation, attributes, capacity, data, direct, directories, handles, links, mapping, open,
    permissions, rename, set_id, sparse, stores, times, transfer, vectors, vexctl, xattrs,
};

/// All operations.
pub fn all_operations() -> Vec<Operation> {
    [
        data::OPERATIONS,
        allocation::OPERATIONS,
        open::OPERATIONS,
        direct::OPERATIONS,
        sparse::OPERATIONS,
        transfer::OPERATIONS,
        mapping::OPERATIONS,
        stores::OPERATIONS,
        rename::OPERATIONS,
        links::OPERATIONS,
        handles::OPERATIONS,
        directories::OPERATIONS,
        attributes::OPERATIONS,
        times::OPERATIONS,
        permissions::OPERATIONS,
        set_id::OPERATIONS,
        xattrs::OPERATIONS,
        capacity::OPERATIONS,
        vexctl::OPERATIONS,
    ]
    .concat()
    .into_iter()
    .chain(vectors::operations())
    .collect()
}

/// The operations that are quick and can share a mount, to be tried one after the other.
pub fn quick_operations() -> impl Iterator<Item = Operation> {
    all_operations().into_iter().filter(|one| one.on_any_mount() && one.effort == Effort::Quick)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::contract::OTHERS;
    use super::*;

    /// In exactly these words, so that whoever reads the message finds the reason there.
    #[test]
    fn the_contract_says_what_it_asks_beyond_posix() {
        let path = machine::project::root().join("docs/contract.md");
        let contract = fs::read_to_string(path).unwrap();
        let operations = all_operations();
        let of_operations = operations.iter().filter_map(|operation| operation.contract);
        for asked in of_operations.chain(OTHERS.iter().copied()) {
            assert!(contract.contains(&format!("| {asked} | ")), "{asked}");
        }
    }
}
