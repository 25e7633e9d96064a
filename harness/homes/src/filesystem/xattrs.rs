//! Extended attributes of users: `user.*`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use rustix::fs::{
    XattrFlags, fgetxattr, fsetxattr, getxattr, getxattr_query, listxattr, listxattr_query,
    lsetxattr, removexattr, setxattr,
};

use super::asked::{LARGE_XATTRS, USER_XATTRS, XATTR_LISTS, XATTRS, XATTRS_COUNT};
use super::contract::{ByContract, Lacking, contract_requires, require_asked};
use super::expect::{expect_errno, free_bytes, noise, same_bytes};
use super::operation::{Operation, operations};
use super::users::{NOBODY, as_user};

pub(super) const OPERATIONS: &[Operation] = operations![
    xattrs_are_set_read_and_removed,
    xattrs_of_directories_and_open_files,
    xattrs_create_or_replace,
    xattrs_have_sizes,
    xattrs_of_other_names_and_kinds_are_refused,
    xattrs_are_a_matter_of_permissions.as_root(),
    a_list_of_xattrs_ends_at_64_kib.on("size=64M"),
    xattrs_count_against_the_size.on("size=8M"),
];

const SET: XattrFlags = XattrFlags::empty();
/// The largest value, XATTR_SIZE_MAX.
const LARGEST: usize = 65_536;

/// Checks that files have extended attributes. A file system without them may be healthy, but
/// where it has them, it must keep them. The file that it makes stays, so that its room does not
/// become free while the operation looks what is free.
fn has_xattrs(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("has-xattrs");
    fs::write(&path, "")?;
    setxattr(&path, "user.a", b"x", SET).context("setxattr").by_contract(XATTRS)
}

fn value(path: &Path, name: &str) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; LARGEST];
    let length = getxattr(path, name, &mut buffer[..])?;
    buffer.truncate(length);
    Ok(buffer)
}

fn listed(path: &Path) -> Result<BTreeSet<String>, Failure> {
    let mut buffer = vec![0; LARGEST];
    let length = listxattr(path, &mut buffer[..]).context("listxattr")?;
    let names = buffer[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn expect_listed(path: &Path, names: &[&str]) -> Result<(), Failure> {
    let found = listed(path)?;
    let due = names.iter().map(|&name| name.to_owned()).collect();
    require!(found == due, "{found:?} are listed, expected {due:?}");
    Ok(())
}

fn xattrs_are_set_read_and_removed(dir: &Path) -> Result<(), Failure> {
    has_xattrs(dir)?;
    let (path, moved) = (dir.join("f"), dir.join("moved"));
    fs::write(&path, "content")?;
    expect_listed(&path, &[])?;
    expect_errno(value(&path, "user.a"), libc::ENODATA, "an attribute that is not there")?;
    setxattr(&path, "user.a", b"one", SET).context("setxattr")?;
    setxattr(&path, "user.b", b"\0two\xff", SET).context("setxattr")?;
    setxattr(&path, "user.empty", b"", SET).context("setxattr of nothing")?;
    expect_listed(&path, &["user.a", "user.b", "user.empty"])?;
    setxattr(&path, "user.a", b"another, longer", SET).context("setxattr again")?;
    fs::rename(&path, &moved)?;
    same_bytes(&value(&moved, "user.a")?, b"another, longer")?;
    same_bytes(&value(&moved, "user.b")?, b"\0two\xff")?;
    same_bytes(&value(&moved, "user.empty")?, b"")?;
    removexattr(&moved, "user.a").context("removexattr")?;
    expect_errno(value(&moved, "user.a"), libc::ENODATA, "an attribute that was removed")?;
    expect_errno(removexattr(&moved, "user.a"), libc::ENODATA, "removing it again")?;
    expect_listed(&moved, &["user.b", "user.empty"])?;
    require!(uncached::read(&moved)? == b"content", "attributes changed the file");
    // A new file with the same name has no attributes.
    fs::write(&path, "")?;
    expect_listed(&path, &[])
}

fn xattrs_of_directories_and_open_files(dir: &Path) -> Result<(), Failure> {
    has_xattrs(dir)?;
    let subdir = dir.join("subdir");
    fs::create_dir(&subdir)?;
    setxattr(&subdir, "user.of", b"a directory", SET)
        .context("setxattr of a directory")
        .by_contract(XATTRS)?;
    fs::write(subdir.join("f"), "")?;
    same_bytes(&value(&subdir, "user.of")?, b"a directory")?;
    expect_listed(&subdir.join("f"), &[])?;
    let file = File::open(subdir.join("f"))?;
    fs::remove_dir_all(&subdir)?;
    fsetxattr(&file, "user.of", b"no name", SET)
        .context("fsetxattr of an unlinked file")
        .by_contract(XATTRS)?;
    let mut buffer = [0; 100];
    let length = fgetxattr(&file, "user.of", &mut buffer[..]).context("fgetxattr")?;
    same_bytes(&buffer[..length], b"no name")
}

fn xattrs_create_or_replace(dir: &Path) -> Result<(), Failure> {
    has_xattrs(dir)?;
    let path = dir.join("f");
    fs::write(&path, "")?;
    let replaced = setxattr(&path, "user.a", b"x", XattrFlags::REPLACE);
    expect_errno(replaced, libc::ENODATA, "XATTR_REPLACE of what is not there")?;
    setxattr(&path, "user.a", b"one", XattrFlags::CREATE).context("XATTR_CREATE")?;
    let created = setxattr(&path, "user.a", b"x", XattrFlags::CREATE);
    expect_errno(created, libc::EEXIST, "XATTR_CREATE of what is there")?;
    same_bytes(&value(&path, "user.a")?, b"one")?;
    setxattr(&path, "user.a", b"two", XattrFlags::REPLACE).context("XATTR_REPLACE")?;
    same_bytes(&value(&path, "user.a")?, b"two")?;
    let unknown = setxattr(&path, "user.a", b"x", XattrFlags::from_bits_retain(4));
    expect_errno(unknown, libc::EINVAL, "setxattr with an unknown flag")
}

fn xattrs_have_sizes(dir: &Path) -> Result<(), Failure> {
    has_xattrs(dir)?;
    let path = dir.join("f");
    fs::write(&path, "")?;
    let longest = format!("user.{}", "n".repeat(250));
    setxattr(&path, &longest, b"x", SET).context("the longest name")?;
    let larger = setxattr(&path, "user.b", &noise(LARGEST + 1), SET);
    expect_errno(larger, libc::E2BIG, "a value of 65,537 bytes")?;
    let longer = setxattr(&path, format!("{longest}n"), b"x", SET);
    expect_errno(longer, libc::ERANGE, "a name of 256 bytes")?;
    setxattr(&path, "user.a", b"12345", SET)?;
    let asked = getxattr_query(&path, "user.a").context("getxattr of the size")?;
    require!(asked == 5, "getxattr reports {asked} bytes for a value of 5 bytes");
    let short = getxattr(&path, "user.a", &mut [0_u8; 4][..]);
    expect_errno(short, libc::ERANGE, "getxattr into 4 bytes of 5")?;
    let asked = listxattr_query(&path).context("listxattr of the size")?;
    require!(asked == 255 + 1 + 7, "listxattr reports a list of {asked} bytes");
    let short = listxattr(&path, &mut [0_u8; 100][..]);
    expect_errno(short, libc::ERANGE, "listxattr into too few bytes")?;
    expect_listed(&path, &[&longest, "user.a"])?;
    let large = noise(LARGEST);
    setxattr(&path, &longest, &large, SET)
        .context("the longest name and the largest value")
        .by_contract(LARGE_XATTRS)?;
    same_bytes(&value(&path, &longest)?, &large)?;
    same_bytes(&value(&path, "user.a")?, b"12345")
}

fn xattrs_of_other_names_and_kinds_are_refused(dir: &Path) -> Result<(), Failure> {
    let (path, link) = (dir.join("f"), dir.join("link"));
    fs::write(&path, "")?;
    symlink("f", &link).context("symlink(2), which this needs")?;
    has_xattrs(dir)?;
    let of_link = lsetxattr(&link, "user.a", b"x", SET);
    expect_errno(of_link, libc::EPERM, "an attribute of a symbolic link")?;
    setxattr(&link, "user.a", b"followed", SET).context("setxattr through a link")?;
    expect_listed(&path, &["user.a"])?;
    for name in ["security.vexfs", "trusted.vexfs", "system.vexfs", "vexfs", "other.vexfs"] {
        let errno = match (name, nix::unistd::geteuid().is_root()) {
            ("security.vexfs" | "trusted.vexfs", false) => libc::EPERM,
            _ => libc::EOPNOTSUPP,
        };
        expect_errno(setxattr(&path, name, b"x", SET), errno, &format!("setxattr of {name}"))
            .by_contract(USER_XATTRS)?;
    }
    expect_errno(setxattr(&path, "user.", b"x", SET), libc::EINVAL, "a name of nothing")
        .by_contract(USER_XATTRS)?;
    expect_listed(&path, &["user.a"])
}

fn xattrs_are_a_matter_of_permissions(dir: &Path) -> Result<(), Failure> {
    has_xattrs(dir)?;
    let path = dir.join("f");
    fs::write(&path, "")?;
    setxattr(&path, "user.a", b"x", SET)?;
    let as_nobody = |mode: u32| -> Result<_, Failure> {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        as_user(NOBODY, NOBODY, || {
            Ok((value(&path, "user.a"), setxattr(&path, "user.a", b"y", SET)))
        })
    };
    let (read, set) = as_nobody(0o600)?;
    expect_errno(read, libc::EACCES, "reading an attribute of a file of mode 600")?;
    expect_errno(set, libc::EACCES, "setting an attribute of a file of mode 600")?;
    let (read, set) = as_nobody(0o604)?;
    read.context("reading an attribute of a file of mode 604")?;
    expect_errno(set, libc::EACCES, "setting an attribute of a file of mode 604")?;
    as_nobody(0o606)?.1.context("setting an attribute of a file of mode 606")
}

fn a_list_of_xattrs_ends_at_64_kib(dir: &Path) -> Result<(), Failure> {
    /// XATTR_LIST_MAX.
    const LIST: usize = 65_536;
    has_xattrs(dir)?;
    // With its terminating zero, each name takes 256 bytes; the last one leaves no room for
    // another.
    let name = |number: usize| format!("user.{number:0250}");
    let due = LIST / (name(0).len() + 1);
    for path in [dir.join("f"), dir.join("d")] {
        if path.ends_with("d") {
            fs::create_dir(&path)?;
        } else {
            fs::write(&path, "")?;
        }
        let set = |name: &str| setxattr(&path, name, b"x", SET);
        let mut there = 0;
        let refused = loop {
            match set(&name(there)) {
                Ok(()) => there += 1,
                Err(error) => break error,
            }
            contract_requires!(
                XATTR_LISTS,
                there <= due,
                "{there} names of 256 bytes are more than can be listed"
            );
        };
        contract_requires!(
            XATTR_LISTS,
            refused == rustix::io::Errno::NOSPC && there == due,
            "{refused:?} after {there} names of 256 bytes, expected ENOSPC after {due}, which are \
             64 KiB"
        );
        let asked = listxattr_query(&path).context("listxattr of the size, of a full list")?;
        require!(asked == LIST, "listxattr reports {asked} bytes for a full list");
        let names: BTreeSet<String> = (0..due).map(name).collect();
        require!(listed(&path)? == names, "the list differs from the {due} names that were set");
        expect_errno(set("user.a"), libc::ENOSPC, "one more short name")
            .by_contract(XATTR_LISTS)?;
        set(&name(7)).context("another value of a name that is there").by_contract(XATTR_LISTS)?;
        removexattr(&path, name(3)).context("removexattr from a full list")?;
        let set_again = set("user.a").context("a name in the place of one that was removed");
        set_again.by_contract(XATTR_LISTS)?;
        expect_errno(set(&name(3)), libc::ENOSPC, "the longer name again")
            .by_contract(XATTR_LISTS)?;
        let asked = listxattr_query(&path).context("listxattr of the size")?;
        require!(asked == LIST - 256 + 7, "listxattr reports a list of {asked} bytes");
        require!(listed(&path)?.contains("user.a"), "user.a is not listed");
    }
    Ok(())
}

fn xattrs_count_against_the_size(dir: &Path) -> Result<(), Failure> {
    /// More values of 64 KiB than fit into 8 MiB.
    const MOST: usize = 200;
    has_xattrs(dir)?;
    let free = || free_bytes(dir);
    let before = free()?;
    let large = noise(LARGEST);
    let mut full = None;
    for number in 0..MOST {
        let path = dir.join(number.to_string());
        fs::write(&path, "").context(format!("file {number}")).by_contract(XATTRS_COUNT)?;
        match setxattr(&path, "user.large", &large, SET) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOSPC) => {
                full = Some(number);
                break;
            }
            Err(error) => return Err(error).context("64 KiB").by_contract(LARGE_XATTRS),
        }
    }
    let mut lacking = Lacking::default();
    let told = "200 values of 64 KiB fit into 8 MiB";
    lacking.note(require_asked(XATTRS_COUNT, full.is_some(), told))?;
    let full = full.unwrap_or(MOST);
    let told = format!("8 MiB hold {full} values of 64 KiB");
    lacking.note(require_asked(XATTRS_COUNT, full >= 100, told))?;
    let left = free()?;
    let told = format!("{left} bytes are free at ENOSPC");
    lacking.note(require_asked(XATTRS_COUNT, left < LARGEST as u64, told))?;
    for number in 0..full {
        let path = dir.join(number.to_string());
        same_bytes(&value(&path, "user.large")?, &large).context("a value, after ENOSPC")?;
        removexattr(&path, "user.large").context("removexattr")?;
    }
    wait_for("room that removed attributes free", std::time::Duration::from_secs(10), || {
        Ok((free()? == before).then_some(()))
    })
    .by_contract(XATTRS_COUNT)?;
    lacking.told()
}
