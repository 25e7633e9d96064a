//! Measuring: the data set, its true neighbours, the contenders, and the rounds that compare them.
//!
//! [`dataset`] draws the protocol's rows and [`oracle`] computes their true neighbours. A
//! [`contender`] stores rows and answers queries: the engine in this process, a file of a mounted
//! VexFS, or another library in a process of its own. [`rounds`] gives two contenders the same
//! work, round by round. [`peers`] compares the engine with other libraries, and [`claims`] checks
//! what a benchmark program claims.
//!
//! It depends on `evidence` and `machine`, and on the engine and the interface of VexFS. It mounts
//! nothing, boots nothing and judges nothing. Begin with [`contender::Contender`].

pub mod claims;
pub mod contender;
pub mod dataset;
pub mod home;
pub mod oracle;
pub mod peers;
pub mod rounds;
