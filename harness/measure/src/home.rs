//! The names of homes in evidence, in messages and as contenders.

use vexfs_uapi::Home;

/// `fuse` or `kernel`.
pub fn name(home: Home) -> &'static str {
    match home {
        Home::Fuse => "fuse",
        Home::Kernel => "kernel",
    }
}
