//! The engine's kinds beside all peers on data as people have it (`fixtures/peers/data`): recall
//! by default, and speed at recall 0.95.
//!
//! [`set`] reads a set, [`truth`] knows its exact answers by any metric, [`side`] lists what is
//! tried on it, [`built`] is one of these with an index, [`measure`] builds and sweeps all on two
//! processors and then lets them take turns on one. [`result`] is what is written, [`table`]
//! prints it.

pub mod built;
pub mod measure;
pub mod result;
pub mod set;
pub mod side;
pub mod table;
pub mod truth;
