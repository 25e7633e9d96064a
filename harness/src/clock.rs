//! What the times of this place count.

use clap::ValueEnum;
pub use machine::clock::here;

/// What the time of a guest is to count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ClockChoice {
    /// Time as it passes
    #[default]
    Wall,
    /// A count of the guest's instructions, 2 ns each: the same on a busy machine, on one emulated
    /// CPU
    Instructions,
    /// Whichever decides on the kernel against FUSE: instructions, but wall time on KVM
    Deciding,
}
