//! What is not compared, and why. Nothing else is left out.

/// The referee answers that it has none.
pub const HOLES_OF_ALLOCATED: &str = "tmpfs has holes in allocated room, and fills a hole that a \
     mapping reads; the contract finds no hole in allocated room";

/// The referee answers that it has none.
pub const SEEKING_IN_DIRECTORIES: &str = "positions in a directory are each file system's own";

/// What walks do not do or do not look at, and the reason.
pub const NOT_COMPARED: [(&str, &str); 11] = [
    ("SEEK_DATA and SEEK_HOLE of what was allocated or mapped", HOLES_OF_ALLOCATED),
    ("lseek(2) of directories", SEEKING_IN_DIRECTORIES),
    ("st_blocks", "each file system counts what its content takes in its own way"),
    ("the size of a directory", "POSIX gives it no meaning"),
    ("times that a clock gave", "they depend on the moment: a walk compares them only as now"),
    ("access times by reading", "the mount's options decide; walks read with O_NOATIME"),
    ("access times of symbolic links", "reading one cannot be asked to leave it alone"),
    ("RENAME_WHITEOUT", "the contract has no devices: EINVAL where tmpfs makes one"),
    ("security.*, trusted.* and ACLs", "the contract has user.* alone"),
    (
        "extended attributes before Linux 6.6",
        "tmpfs has no user.* there: walks do nothing with them",
    ),
    (
        "full mounts",
        "tmpfs counts inodes and attributes differently; the capacity trials fill mounts",
    ),
];
