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
