//! What docs/contract.md asks beyond POSIX.

use std::fmt;

/// Something that docs/contract.md asks beyond POSIX, in the words of its table.
///
/// Only this file makes one, so nothing can be marked that the contract does not list with its
/// reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked(&'static str);

impl Asked {
    /// The words.
    pub fn words(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! asked {
    ($($name:ident = $words:literal;)*) => {
        $(
            #[doc = concat!("The contract asks: ", $words, ".")]
            pub const $name: Asked = Asked($words);
        )*

        /// All of them.
        #[cfg(test)]
        const ALL: &[Asked] = &[$($name),*];
    };
}

asked! {
    ALLOCATES = "room can be allocated before it is written to (fallocate)";
    ALLOCATED_IS_DATA = "SEEK_HOLE finds no hole in allocated room";
    ALLOCATES_ALL_OR_NOTHING =
        "an allocation for which there is no room is ENOSPC, however large, and takes nothing";
    PUNCHES = "a hole of any length can be punched, and is free to the page";
    OTHER_ALLOCATIONS = "other modes of fallocate(2) are EOPNOTSUPP";
    HOLES = "a hole takes no room, and SEEK_HOLE finds it to the page";
    LARGEST_OFFSET = "a file may reach to the largest offset of off_t";
    GROWS = "what is stored behind the end of a file is zeros once it grows";
    DIRECT = "what is written by O_DIRECT is read by everybody once it is written";
    RENAME_FLAGS = "renameat2(2) takes RENAME_NOREPLACE and RENAME_EXCHANGE";
    WHITEOUT = "RENAME_WHITEOUT is EINVAL";
    XATTRS = "files and directories have extended attributes in user.*";
    LARGE_XATTRS = "an extended attribute may have 64 KiB";
    USER_XATTRS = "extended attributes are user.* only";
    XATTR_LISTS = "a list of extended attributes ends at 64 KiB";
    XATTRS_COUNT = "extended attributes count against size=";
    SYMLINKS_COUNT = "symbolic links count against size= by their bytes";
    LONG_SYMLINKS = "a symbolic link may have 4,095 bytes";
    NAMES = "a name may have 255 bytes, and no more";
    MANY_NAMES = "a file may have 500 names";
    SPECIAL_FILES = "FIFOs, sockets and devices can be made";
    DIRECTORY_LINKS = "a directory has a link for each directory in it";
    POSITIONS = "positions in a directory stay valid when names go, and for another descriptor";
    LISTED_ONCE = "a name is listed once while it is renamed, replaced or exchanged";
    LISTINGS_END = "a listing ends even if each listed name is renamed and linked";
    SYNCS_DIRECTORIES = "fsync(2) of a directory succeeds";
    TIMES = "times are kept to the nanosecond, also before 1970 and after 2106";
    RENAME_CTIME = "rename(2) moves the file's ctime";
    ACCESS_TIMES = "access times move as with relatime, and not through O_NOATIME";
    HANDLES = "a file handle holds as long as its file has a name";
    LIMITS = "a mount has the limits that size= and nr_inodes= give it";
    LIMITS_TOLD = "statfs(2) reports size= and nr_inodes= exactly";
    COUNTS = "statfs(2) counts what files take";
    INODES_BY_SIZE = "there is an inode for each 4 KiB of size=";
    INODES_COUNT = "nr_inodes= is exact to the inode, and counts further hard links";
    OVERWRITES = "what is there can be overwritten on a full mount";
    FREE_AT_ONCE = "room is free when the call that gave it back has returned";
    MEMORY = "memory of removed files goes back to the system";
    WAITS_ALONE = "a write that waits for its caller's memory holds up nobody else";
    UNKNOWN_OPTIONS = "an option that is not known is refused";
    NO_USER_NAMESPACES = "the module cannot be mounted in a user namespace";
    REQUESTS = "indexes and searches are requests (ioctl) on a file";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// In exactly these words, so that whoever reads the message finds the reason there.
    #[test]
    fn the_contract_says_what_it_asks_beyond_posix() {
        let path = machine::project::root().join("docs/contract.md");
        let contract = fs::read_to_string(path).unwrap();
        let (_, table) = contract.split_once("\n| asked | why |\n| --- | --- |\n").unwrap();
        let rows = table.lines().map_while(|line| line.strip_prefix("| ")?.split_once(" | "));
        let rows: BTreeSet<&str> = rows.map(|(asked, _)| asked).collect();
        let all: BTreeSet<&str> = ALL.iter().map(|asked| asked.words()).collect();
        assert_eq!(rows, all);
    }
}
