//! rename(2) and renameat2(2).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::asked::{RENAME_FLAGS, WHITEOUT};
use super::contract::ByContract;
use super::expect::{directory_has_links, expect_errno, expect_not_empty, has_links};
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    rename,
    rename_over,
    rename_onto_another_link,
    rename_over_the_other_kind,
    rename_directory,
    renamed_directories_have_their_parent,
    rename_noreplace,
    rename_exchange,
    rename_exchange_across_directories,
    rename_refuses_other_flags,
];

/// The inode number of `path`.
fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::symlink_metadata(path)?.ino())
}

fn rename(dir: &Path) -> Result<(), Failure> {
    let (old, new) = (dir.join("old"), dir.join("new"));
    fs::write(&old, "content")?;
    let number = inode(&old)?;
    fs::rename(&old, &new)?;
    require!(!old.exists(), "the old name is still there");
    require!(uncached::read(&new)? == b"content", "the new name has other content");
    require!(inode(&new)? == number, "the inode number changed");
    expect_errno(fs::rename(&old, &new), libc::ENOENT, "a rename of what is not there")?;
    fs::rename(&new, &new).context("a rename to itself")?;
    require!(uncached::read(&new)? == b"content", "a rename to itself changed the file");
    Ok(())
}

fn rename_over(dir: &Path) -> Result<(), Failure> {
    let (source, target) = (dir.join("source"), dir.join("target"));
    fs::write(&source, "source")?;
    fs::write(&target, "target, longer")?;
    let open = File::open(&target)?;
    fs::rename(&source, &target)?;
    require!(
        uncached::read(&target)? == b"source",
        "the target does not have the source's content"
    );
    require!(!source.exists(), "the source is still there");
    require!(open.metadata()?.nlink() == 0, "the replaced file still has a link");
    require!(io::read_to_string(open)? == "target, longer", "the replaced file lost its content");
    Ok(())
}

/// A rename between two names of the same file removes neither.
fn rename_onto_another_link(dir: &Path) -> Result<(), Failure> {
    let (a, b) = (dir.join("a"), dir.join("b"));
    fs::write(&a, "content")?;
    fs::hard_link(&a, &b).context("link(2), which this needs")?;
    fs::rename(&a, &b)?;
    require!(a.exists() && b.exists(), "a name of the file is gone");
    has_links(&fs::metadata(&a)?, 2, "a file of two names")?;
    Ok(())
}

fn rename_over_the_other_kind(dir: &Path) -> Result<(), Failure> {
    let (file, empty, full) = (dir.join("file"), dir.join("empty"), dir.join("full"));
    fs::write(&file, "f")?;
    fs::create_dir(&empty)?;
    fs::create_dir_all(full.join("sub"))?;
    expect_errno(fs::rename(&file, &empty), libc::EISDIR, "a file over a directory")?;
    expect_errno(fs::rename(&empty, &file), libc::ENOTDIR, "a directory over a file")?;
    expect_not_empty(fs::rename(&empty, &full), "over a full directory")?;
    let replaced = File::open(&empty)?;
    fs::rename(&full, &empty).context("a directory over an empty one")?;
    require!(empty.join("sub").is_dir() && !full.exists(), "the directory is not at its new name");
    let links =
        replaced.metadata().context("fstat of the replaced directory, which is open")?.nlink();
    require!(links == 0, "the replaced directory still has {links} links");
    Ok(())
}

fn rename_directory(dir: &Path) -> Result<(), Failure> {
    let (one, two) = (dir.join("one"), dir.join("two"));
    fs::create_dir_all(one.join("a/b"))?;
    fs::write(one.join("f"), "f")?;
    fs::rename(&one, &two)?;
    require!(uncached::read(two.join("f"))? == b"f", "the directory's content is not there");
    for inside in ["inside", "a/inside", "a/b/inside"] {
        let done = fs::rename(&two, two.join(inside));
        expect_errno(done, libc::EINVAL, &format!("a directory renamed into itself: {inside}"))?;
    }
    let onto = fs::rename(two.join("a/b"), &two);
    expect_not_empty(onto, "a directory renamed onto its ancestor")
}

/// `..` and the link counts follow a renamed directory.
fn renamed_directories_have_their_parent(dir: &Path) -> Result<(), Failure> {
    let (one, two) = (dir.join("one"), dir.join("two"));
    fs::create_dir_all(one.join("moved"))?;
    fs::create_dir(&two)?;
    // Look up `..` in the directory itself, not by its path.
    let moved = File::open(one.join("moved"))?;
    fs::rename(one.join("moved"), two.join("moved"))?;
    let parent = rustix::fs::statat(&moved, "..", rustix::fs::AtFlags::empty())?.st_ino;
    require!(parent == inode(&two)?, "\"..\" is {parent}, and not the new parent");
    directory_has_links(&one, 2).context("the old parent")?;
    directory_has_links(&two, 3).context("the new parent")?;
    fs::remove_dir(&one).context("rmdir of the old parent")
}

fn rename_with(old: &Path, new: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(renameat_with(CWD, old, CWD, new, flags)?)
}

/// Exchanges two names. A file system without RENAME_EXCHANGE may be healthy, but one that takes the
/// flag must do it.
fn exchange(one: &Path, other: &Path) -> Result<(), Failure> {
    let done = rename_with(one, other, RenameFlags::EXCHANGE).context("RENAME_EXCHANGE");
    done.by_contract(RENAME_FLAGS)
}

fn rename_noreplace(dir: &Path) -> Result<(), Failure> {
    let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
    fs::write(&a, "a")?;
    fs::write(&b, "b")?;
    let refused = rename_with(&a, &b, RenameFlags::NOREPLACE);
    expect_errno(refused, libc::EEXIST, "RENAME_NOREPLACE onto a file that is there")?;
    require!(
        uncached::read(&a)? == b"a" && uncached::read(&b)? == b"b",
        "a refused rename changed a file"
    );
    rename_with(&a, &c, RenameFlags::NOREPLACE)
        .context("RENAME_NOREPLACE onto a free name")
        .by_contract(RENAME_FLAGS)?;
    require!(!a.exists(), "the old name is still there");
    require!(uncached::read(&c)? == b"a", "the new name has other content");
    Ok(())
}

fn rename_exchange(dir: &Path) -> Result<(), Failure> {
    let (file, subdir) = (dir.join("file"), dir.join("subdir"));
    fs::write(&file, "f")?;
    fs::create_dir_all(subdir.join("below"))?;
    exchange(&file, &subdir)?;
    require!(
        file.join("below").is_dir() && uncached::read(&subdir)? == b"f",
        "file and directory did not change places"
    );
    let missing = rename_with(&file, &dir.join("none"), RenameFlags::EXCHANGE);
    expect_errno(missing, libc::ENOENT, "RENAME_EXCHANGE with a name that is not there")?;
    let below = rename_with(&file, &file.join("below"), RenameFlags::EXCHANGE);
    expect_errno(below, libc::EINVAL, "RENAME_EXCHANGE with what is in the directory")
}

fn rename_exchange_across_directories(dir: &Path) -> Result<(), Failure> {
    let (one, two) = (dir.join("one"), dir.join("two"));
    fs::create_dir_all(one.join("x/in-x"))?;
    fs::create_dir(&two)?;
    fs::write(two.join("y"), "y")?;
    exchange(&one.join("x"), &two.join("y"))?;
    require!(uncached::read(one.join("x"))? == b"y", "the file did not move");
    require!(two.join("y/in-x").is_dir(), "the directory did not move");
    directory_has_links(&one, 2)?;
    directory_has_links(&two, 3)?;
    let parent = inode(&two.join("y/.."))?;
    require!(parent == inode(&two)?, "\"..\" of the directory is not its new parent");
    Ok(())
}

fn rename_refuses_other_flags(dir: &Path) -> Result<(), Failure> {
    let (a, b) = (dir.join("a"), dir.join("b"));
    fs::write(&a, "a")?;
    fs::write(&b, "b")?;
    let refuses = |flags: RenameFlags| -> Result<(), Failure> {
        expect_errno(rename_with(&a, &b, flags), libc::EINVAL, &format!("{flags:?}"))?;
        require!(
            uncached::read(&a)? == b"a" && uncached::read(&b)? == b"b",
            "a refused rename changed a file"
        );
        Ok(())
    };
    // All file systems refuse these, because the kernel does.
    for flags in [
        RenameFlags::NOREPLACE | RenameFlags::EXCHANGE,
        RenameFlags::WHITEOUT | RenameFlags::EXCHANGE,
        RenameFlags::from_bits_retain(1 << 7),
    ] {
        refuses(flags)?;
    }
    refuses(RenameFlags::WHITEOUT).by_contract(WHITEOUT)
}
