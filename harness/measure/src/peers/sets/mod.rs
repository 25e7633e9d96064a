//! The engine's kinds beside all peers on real-world data (`fixtures/peers/data`): recall by
//! default, and speed at recall 0.95.
//!
//! [`set`] reads a set, [`truth`] has its exact answers by any metric, [`side`] lists the indexes
//! that are tried on it, and [`built`] is such an index after it was built. [`measure`] builds all
//! of them and tries their settings on all processors, and then measures them in turns on one.
//! [`result`] is what is written; [`table`] prints it.

pub mod built;
pub mod measure;
pub mod result;
pub mod set;
pub mod side;
pub mod table;
pub mod truth;
