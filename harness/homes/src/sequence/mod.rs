//! Changes of a vector file that a seed decides, and the plain model that knows what must come of
//! them: bytes, the rows in them, and brute force.

mod apply;
mod change;
mod engine;
mod model;

pub use apply::apply;
pub use change::query;
pub use change::{Change, Shape, Way};
pub use engine::InOrder;
pub use model::Model;
