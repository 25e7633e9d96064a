//! How the indexes over the protocol's rows are declared.

use evidence::protocol::PROTOCOL;
use machine::failure::Failure;
use vexfs_uapi::Kind;
use vexfs_uapi::client::Declaration;

/// efSearch of the protocol's graphs. At this value their recall is not below that of the rivals'
/// graphs at 256. It is declared because a graph with the default may compare every row, and then
/// the walk through the graph would not be measured.
pub const EF_SEARCH: u32 = 320;

/// An index of `kind` over the protocol's rows, with default parameters except for a graph's
/// efSearch.
///
/// # Errors
/// The protocol's dimension does not fit a u32 (it does).
pub fn of_protocol(kind: Kind) -> Result<Declaration, Failure> {
    of_rows(kind, PROTOCOL.dim)
}

/// The same for rows of `dim` components.
pub fn of_rows(kind: Kind, dim: usize) -> Result<Declaration, Failure> {
    let mut declaration = Declaration { kind, ..Declaration::flat(u32::try_from(dim)?) };
    if kind == Kind::Hnsw {
        declaration.params[2] = EF_SEARCH;
    }
    Ok(declaration)
}
