//! Making, removing and listing directories, also while they change.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawDir, RenameFlags, SeekFrom, linkat, openat, renameat,
    renameat_with, seek, unlinkat,
};

use super::asked::{DIRECTORY_LINKS, LISTED_ONCE, LISTINGS_END, POSITIONS, RENAME_FLAGS};
use super::contract::{ByContract, contract_requires};
use super::expect::{directory_has_links, expect_errno, expect_not_empty, has_links, longest_name};
use super::operation::{Effort, Operation, operations};
use super::threads::{beside, in_threads};

pub(super) const OPERATIONS: &[Operation] = operations![
    mkdir_and_rmdir,
    directories_are_links_to_their_parents,
    rmdir_of_an_open_directory,
    readdir_1000,
    readdir_into_small_buffers,
    readdir_from_a_position,
    readdir_from_a_position_behind_changes,
    readdir_by_who_renames_what_was_read,
    readdir_while_names_are_renamed,
    readdir_while_it_changes.effort(Effort::Long),
    readdir_of_100_000_while_it_changes
        .on("size=256M,nr_inodes=200000")
        .effort(Effort::ManyRequests),
    names_by_several_threads,
];

/// Only if the file system counts the links of directories; btrfs does not.
fn directories_are_links_to_their_parents(dir: &Path) -> Result<(), Failure> {
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        let links = fs::metadata(dir)?.nlink();
        let due = 2 + number as u64;
        contract_requires!(
            DIRECTORY_LINKS,
            links == due,
            "stat of a directory with {number} subdirectories reports nlink {links}, expected {due}"
        );
        fs::create_dir(dir.join(name))?;
    }
    Ok(())
}

fn mkdir_and_rmdir(dir: &Path) -> Result<(), Failure> {
    let (outer, inner) = (dir.join("outer"), dir.join("outer/inner"));
    fs::create_dir_all(&inner)?;
    directory_has_links(&outer, 3)?;
    expect_errno(fs::create_dir(&outer), libc::EEXIST, "mkdir of what is there")?;
    expect_not_empty(fs::remove_dir(&outer), "rmdir of a full directory")?;
    expect_errno(fs::remove_dir(outer.join(".")), libc::EINVAL, "rmdir of \".\"")?;
    fs::write(dir.join("f"), "f")?;
    expect_errno(fs::remove_dir(dir.join("f")), libc::ENOTDIR, "rmdir of a file")?;
    fs::remove_dir(&inner)?;
    fs::remove_dir(&outer)?;
    require!(!outer.exists(), "the directory is still there");
    Ok(())
}

fn rmdir_of_an_open_directory(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("subdir");
    fs::create_dir(&path)?;
    let open = File::open(&path)?;
    fs::remove_dir(&path)?;
    let still = open.metadata().context("fstat of the removed directory, which is open")?;
    has_links(&still, 0, "a removed directory")?;
    let create = openat(&open, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU);
    expect_errno(create, libc::ENOENT, "a file created in a removed directory")?;
    let listed = names(&open, 4096);
    require!(
        matches!(&listed, Ok(names) if names.is_empty()) || listed.is_err(),
        "a removed directory lists {listed:?}"
    );
    fs::create_dir(&path).context("mkdir of the same name")
}

/// The names, except `.` and `..`, that getdents64(2) returns into a buffer of `size` bytes, from
/// the current position of `directory` on.
fn names(directory: impl AsFd, size: usize) -> Result<Vec<String>, Failure> {
    Ok(entries(directory, size)?.into_iter().map(|(name, _)| name).collect())
}

/// As [`names`], with the position after each entry.
fn entries(directory: impl AsFd, size: usize) -> Result<Vec<(String, u64)>, Failure> {
    let mut buffer = vec![MaybeUninit::uninit(); size];
    let mut listing = RawDir::new(directory, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry.context("getdents64")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            found.push((name, entry.next_entry_cookie()));
        }
    }
    Ok(found)
}

/// Creates a file. Not by mknod(2), which POSIX does not have for regular files.
fn create_one(directory: impl AsFd, name: &str) -> Result<(), Failure> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::RWXU).map(drop).context(name)
}

/// Creates the files `PREFIX-0` to `PREFIX-(count - 1)`.
fn create(directory: impl AsFd, prefix: &str, count: usize) -> Result<(), Failure> {
    for number in 0..count {
        let name = format!("{prefix}-{number}");
        create_one(&directory, &name)?;
    }
    Ok(())
}

fn readdir_1000(dir: &Path) -> Result<(), Failure> {
    let expected: BTreeSet<String> = (0..1000).map(|number| format!("file-{number}")).collect();
    create(File::open(dir)?, "file", 1000)?;
    let mut listed = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        require!(
            entry.file_type()?.is_file(),
            "{:?} is not listed as a regular file",
            entry.file_name()
        );
        let name = entry.file_name().to_string_lossy().into_owned();
        require!(listed.insert(name.clone()), "{name} is listed twice");
    }
    require!(listed == expected, "{} of 1,000 names are listed", listed.len());
    Ok(())
}

fn readdir_into_small_buffers(dir: &Path) -> Result<(), Failure> {
    let open = File::open(dir)?;
    create(&open, "file", 100)?;
    fs::write(dir.join("x".repeat(longest_name(dir)?)), "")?;
    // An entry takes 19 bytes and its name, rounded up to 8, and the buffer's alignment takes some.
    // Open the directory again: whoever opened it before the names were made may or may not see
    // them (readdir(3p)).
    let open = File::open(dir)?;
    let listed = names(&open, 290)?;
    let distinct: HashSet<&String> = listed.iter().collect();
    require!(
        listed.len() == 101 && distinct.len() == 101,
        "{} names are listed entry by entry, {} of them distinct, expected 101",
        listed.len(),
        distinct.len()
    );
    seek(&open, SeekFrom::Start(0))?;
    expect_errno(
        RawDir::new(&open, &mut [MaybeUninit::uninit(); 16]).next().transpose().map(drop),
        libc::EINVAL,
        "getdents64 into a buffer too small for an entry",
    )
}

/// telldir(3) and seekdir(3): after seeking to the position behind an entry, the remaining ones
/// follow.
fn readdir_from_a_position(dir: &Path) -> Result<(), Failure> {
    let open = File::open(dir)?;
    create(&open, "file", 300)?;
    let open = File::open(dir)?;
    let all = entries(&open, 4096)?;
    require!(all.len() == 300, "{} of 300 names are listed", all.len());
    for behind in [0, 1, 150, 298, 299] {
        seek(&open, SeekFrom::Start(all[behind].1)).context("seekdir")?;
        let rest = names(&open, 4096)?;
        let expected = all[behind + 1..].iter().map(|(name, _)| name);
        require!(
            rest.iter().eq(expected),
            "the {} names behind entry {behind} are not those listed there before",
            rest.len()
        );
    }
    seek(&open, SeekFrom::Start(0)).context("rewinddir")?;
    let again = entries(&open, 4096)?;
    let sorted = |entries: &[(String, u64)]| -> BTreeSet<String> {
        entries.iter().map(|(name, _)| name.clone()).collect()
    };
    require!(
        again.len() == all.len() && sorted(&again) == sorted(&all),
        "after rewinddir(3) the directory lists other names"
    );
    // For POSIX a position means nothing any more after rewinddir(3).
    contract_requires!(POSITIONS, again == all, "after rewinddir(3) names have other positions");
    Ok(())
}

/// A position stays valid while names before it go and others come, both for the descriptor that it
/// was read from and for a new one.
fn readdir_from_a_position_behind_changes(dir: &Path) -> Result<(), Failure> {
    let open = File::open(dir)?;
    create(&open, "file", 40)?;
    let open = File::open(dir)?;
    let all = entries(&open, 4096)?;
    require!(all.len() == 40, "{} of 40 names are listed", all.len());
    let (read, rest) = all.split_at(13);
    let position = read[12].1;
    let check = |directory: &File, when: &str| -> Result<(), Failure> {
        seek(directory, SeekFrom::Start(position)).context("seekdir")?;
        let listed = names(directory, 4096)?;
        let distinct: HashSet<&String> = listed.iter().collect();
        require!(distinct.len() == listed.len(), "{when} a name is listed twice: {listed:?}");
        let missing: Vec<_> = rest.iter().filter(|(name, _)| !distinct.contains(name)).collect();
        require!(missing.is_empty(), "{when} {missing:?} are not listed");
        let again: Vec<_> = read.iter().filter(|(name, _)| distinct.contains(name)).collect();
        require!(again.is_empty(), "{when} {again:?}, before the position, are listed");
        Ok(())
    };
    for (name, _) in read {
        unlinkat(&open, name.as_str(), AtFlags::empty()).context(format!("unlink {name}"))?;
    }
    check(&open, "when what was read is gone,").by_contract(POSITIONS)?;
    check(&File::open(dir)?, "to a new descriptor, when what was read is gone,")
        .by_contract(POSITIONS)?;
    create(&open, "new", 13)?;
    check(&open, "when others have come,").by_contract(POSITIONS)?;
    check(&File::open(dir)?, "to a new descriptor, when others have come,").by_contract(POSITIONS)
}

/// A program that renames or links each name that it reads still comes to an end.
fn readdir_by_who_renames_what_was_read(dir: &Path) -> Result<(), Failure> {
    const NAMES: usize = 300;
    // If positions are hashes of names, some names come again, but not for ever.
    const MOST: usize = 10 * NAMES;
    let open = File::open(dir)?;
    create(&open, "old", NAMES)?;
    create(&open, "stays", NAMES)?;
    let (mut listed, mut stayed) = (0, 0);
    let mut buffer = vec![MaybeUninit::uninit(); 1024];
    let mut listing = RawDir::new(File::open(dir)?, &mut buffer);
    while let Some(entry) = listing.next() {
        let name = entry.context("getdents64")?.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        listed += 1;
        contract_requires!(
            LISTINGS_END,
            listed < MOST,
            "{listed} names are listed, and the listing does not end"
        );
        if name.starts_with("stays") {
            stayed += 1;
        } else {
            let new_name = format!("new-{listed}");
            renameat(&open, &name, &open, &new_name).context("rename")?;
            linkat(&open, &new_name, &open, format!("more-{listed}"), AtFlags::empty())
                .context("link(2), which this needs")?;
        }
    }
    require!(stayed == NAMES, "{stayed} of {NAMES} names that stay are listed");
    Ok(())
}

/// Who has listed a part of a directory when names in it are renamed, replaced and exchanged finds each
/// of them once all the same: rsync(1) would delete what it missed, and a backup would lack it.
fn readdir_while_names_are_renamed(dir: &Path) -> Result<(), Failure> {
    const NAMES: usize = 300;
    let (here, there) = (dir.join("here"), dir.join("there"));
    fs::create_dir(&here)?;
    fs::create_dir(&there)?;
    let (here, there) = (File::open(here)?, File::open(there)?);
    create(&here, "file", NAMES)?;
    create(&there, "other", 4)?;

    // What the reader has listed when the names change.
    let reader = openat(&here, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = vec![MaybeUninit::uninit(); 1024];
    let mut listing = RawDir::new(&reader, &mut buffer);
    let mut listed = Vec::new();
    while listed.len() < 12 || !listing.is_buffer_empty() {
        let Some(entry) = listing.next() else { break };
        listed.push(entry.context("getdents64")?.file_name().to_string_lossy().into_owned());
    }
    listed.retain(|name| !name.starts_with('.'));
    let all = (0..NAMES).map(|number| format!("file-{number}"));
    let unread: Vec<String> = all.filter(|name| !listed.contains(name)).collect();
    let (read, mut listed) = (listed.clone(), listed);
    require!(read.len() >= 10, "only {} names are listed into a buffer of 1,024 bytes", read.len());
    require!(
        unread.len() >= 10,
        "a buffer of 1,024 bytes takes {} names, and leaves fewer than 10",
        read.len()
    );

    let rename = |from: &File, name: &str, to: &str| {
        renameat(from, name, &here, to).context(format!("rename {name} to {to}"))
    };
    let exchange = |with: &File, name: &str, other: &str| {
        renameat_with(with, name, &here, other, RenameFlags::EXCHANGE)
            .context(format!("exchange of {name} and {other}"))
            .by_contract(RENAME_FLAGS)
    };
    create(&here, "made", 2)?;
    // By what was not there when the reader began, and by what was.
    rename(&here, "made-0", &unread[0])?;
    rename(&here, "made-1", &read[0])?;
    rename(&here, &read[1], &unread[1])?;
    rename(&here, &unread[2], &read[2])?;
    rename(&there, "other-0", &unread[3])?;
    rename(&there, "other-1", &read[3])?;
    exchange(&here, &read[4], &unread[4])?;
    exchange(&there, "other-2", &unread[5])?;
    exchange(&there, "other-3", &read[5])?;
    // To names that are new.
    rename(&here, &unread[6], "renamed-unread")?;
    rename(&here, &read[6], "renamed-read")?;

    listed.extend(names(&reader, 4096)?);
    let times = |name: &str| listed.iter().filter(|listed| *listed == name).count();
    let gone = [&unread[2], &unread[6]];
    // POSIX says nothing of a name that comes or goes meanwhile, but the others must be listed.
    for name in read[7..].iter().chain(&unread[7..]) {
        let times = times(name);
        require!(times == 1, "{name} is listed {times} times beside renames of others");
    }
    for name in read.iter().chain(&unread).filter(|name| !gone.contains(name)) {
        let role = match read.iter().chain(&unread).position(|other| other == name) {
            Some(at) if at < read.len() => format!("number {at} of those listed before"),
            at => format!("number {} of the others", at.unwrap_or_default() - read.len()),
        };
        let times = times(name);
        contract_requires!(
            LISTED_ONCE,
            times == 1,
            "{name}, {role}, is listed {times} times beside renames"
        );
    }
    let renamed = times(&unread[6]) + times("renamed-unread");
    contract_requires!(
        LISTED_ONCE,
        renamed == 1,
        "a file that was renamed before it was read is listed {renamed} times"
    );
    let renamed = times("renamed-read");
    contract_requires!(
        LISTED_ONCE,
        renamed == 0,
        "a file that was renamed when it was read is listed again"
    );
    contract_requires!(LISTED_ONCE, times(&unread[2]) == 0, "a name that is gone is listed");
    Ok(())
}

fn readdir_while_it_changes(dir: &Path) -> Result<(), Failure> {
    list_while_it_changes(dir, 1_000, 500)
}

fn readdir_of_100_000_while_it_changes(dir: &Path) -> Result<(), Failure> {
    list_while_it_changes(dir, 100_000, 2_000)
}

/// Lists `stay` names while `changes` others come and as many go. A name that stays must be listed
/// once, and a name that comes or goes at most once.
fn list_while_it_changes(dir: &Path, stay: usize, changes: usize) -> Result<(), Failure> {
    let open = openat(CWD, dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    create(&open, "stays", stay)?;
    create(&open, "goes", changes)?;
    let reader = File::open(dir)?;
    let change = || {
        for number in 0..changes {
            let comes = format!("comes-{number}");
            create_one(&open, &comes)?;
            let goes = format!("goes-{number}");
            unlinkat(&open, &goes, AtFlags::empty()).context(goes)?;
        }
        Ok(())
    };
    let ((), listed) = beside(change, |_| names(&reader, 4_096))?;
    let mut seen = HashSet::with_capacity(listed.len());
    for name in &listed {
        require!(seen.insert(name.as_str()), "{name} is listed twice");
    }
    let stayed = listed.iter().filter(|name| name.starts_with("stays-")).count();
    require!(stayed == stay, "{stayed} of {stay} names that stay are listed");
    seek(&open, SeekFrom::Start(0))?;
    let after = names(&open, 4_096)?.len();
    require!(after == stay + changes, "{after} names are listed afterwards");
    Ok(())
}

/// Each thread creates, links, renames and removes its own names in the same two directories.
fn names_by_several_threads(dir: &Path) -> Result<(), Failure> {
    let (one, two) = (dir.join("one"), dir.join("two"));
    fs::create_dir(&one)?;
    fs::create_dir(&two)?;
    in_threads(4, |worker| {
        for number in 0..50 {
            let name = format!("{worker}-{number}");
            fs::write(one.join(&name), &name)?;
            fs::rename(one.join(&name), two.join(&name))?;
            fs::hard_link(two.join(&name), one.join(&name)).context("link")?;
            fs::create_dir(one.join(format!("{name}.d")))?;
            fs::rename(one.join(format!("{name}.d")), two.join(format!("{name}.d")))?;
            require!(
                uncached::read(one.join(&name))? == name.as_bytes(),
                "{name} has other content"
            );
            fs::remove_file(one.join(&name))?;
            if number % 2 == 0 {
                fs::remove_file(two.join(&name))?;
                fs::remove_dir(two.join(format!("{name}.d")))?;
            }
        }
        Ok(())
    })?;
    let (in_one, in_two) = (fs::read_dir(&one)?.count(), fs::read_dir(&two)?.count());
    require!((in_one, in_two) == (0, 200), "{in_one} and {in_two} names are left, not 0 and 200");
    directory_has_links(&one, 2)?;
    directory_has_links(&two, 102)
}
