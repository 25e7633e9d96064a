//! Changes of a vector file that are drawn from a seed, and the plain model that knows their
//! correct result: bytes, the rows in them, and brute-force search.

mod apply;
mod change;
mod engine;
mod model;

pub use apply::apply;
pub use change::query;
pub use change::{Change, Shape, Way};
pub use engine::InOrder;
pub use model::Model;
