//! What a home is called in evidence, in messages and as a contender.

use vexfs_uapi::Home;

/// `fuse` or `kernel`.
pub fn name(home: Home) -> &'static str {
    match home {
        Home::Fuse => "fuse",
        Home::Kernel => "kernel",
    }
}
