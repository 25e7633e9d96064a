//! Measuring: the rows, what is right about them, who is asked, and the rounds in which they are.
//!
//! [`dataset`] draws the protocol's rows and [`oracle`] computes their true neighbours. A
//! [`contender`] stores rows and answers queries: the engine in this process, a file of a mounted
//! VexFS, or another's library in a process of its own. [`rounds`] gives two of them the same work,
//! round by round. [`peers`] sets the engine beside other libraries, and [`claims`] holds a
//! benchmark program to what it says.
//!
//! It stands on `evidence` and `machine`, and on the engine and the interface of VexFS. It mounts
//! nothing, boots nothing and judges nothing. Begin with [`contender::Contender`].

pub mod claims;
pub mod contender;
pub mod dataset;
pub mod oracle;
pub mod peers;
pub mod rounds;
