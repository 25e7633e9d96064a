//! Trials: what a criterion is made of, and how libtest-mimic runs them.
//!
//! ```no_run
//! use evidence::place::Place;
//! use criteria::requirement::Requirement;
//! use criteria::trial::{Context, Trial};
//!
//! fn mounts(context: &Context) -> Result<(), machine::failure::Failure> {
//!     context.fact("mount type", "fuse.vexfs")
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     criteria::main(vec![
//!         Trial::new("fuse::mounts", &[Place::Host, Place::Guest], mounts)
//!             .needs(&[Requirement::DevFuse]),
//!     ])
//! }
//! ```

mod apart;
mod context;
mod declaration;
mod machine_lock;
mod own_process;
mod policy;
mod runner;
mod watchdog;

pub(crate) use apart::{PART, play};
pub use context::Context;
pub use declaration::{Body, Trial};
pub use machine_lock::take as take_machine;
pub use own_process::OwnProcess;
pub use policy::{TrialDecision, decide};
pub(crate) use runner::main;
pub use runner::{DECLARATIONS_VARIABLE, Declaration, run_recorded};
pub use watchdog::MOST_VARIABLE;
