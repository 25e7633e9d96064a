//! How the protocol's indexes are declared.

use evidence::protocol::PROTOCOL;
use machine::failure::Failure;
use vexfs_uapi::Kind;
use vexfs_uapi::client::Declaration;

/// efSearch of the protocol's graphs: their recall is then not below that of the rivals' graphs at
/// 256. It is declared, because a graph that is left to itself may compare every row, and then no
/// walk through it is measured.
pub const EF_SEARCH: u32 = 320;

/// An index of `kind` for the protocol's rows: everything is the default but a graph's efSearch.
///
/// # Errors
/// The protocol's dimension is no u32, which it is.
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
