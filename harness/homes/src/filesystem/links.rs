//! Names of files: removing them, adding further ones, and symbolic links.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use rustix::fs::{AtFlags, CWD, linkat};

use super::asked::{LONG_SYMLINKS, MANY_NAMES, NAMES};
use super::contract::{ByContract, Lacking};
use super::expect::{expect_errno, has_links, longest_name};
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    unlink,
    hard_link,
    many_hard_links,
    hard_links_to_other_kinds,
    symbolic_link,
    symbolic_links_are_as_long_as_paths,
    symbolic_links_end_in_eloop,
    long_and_odd_names,
];

fn unlink(dir: &Path) -> Result<(), Failure> {
    let (path, subdir) = (dir.join("f"), dir.join("subdir"));
    fs::write(&path, "f")?;
    fs::remove_file(&path)?;
    expect_errno(fs::metadata(&path), libc::ENOENT, "stat of an unlinked file")?;
    expect_errno(fs::remove_file(&path), libc::ENOENT, "a second unlink")?;
    require!(fs::read_dir(dir)?.count() == 0, "an unlinked name is still listed");
    fs::create_dir(&subdir).context("mkdir(2), which this needs")?;
    expect_errno(fs::remove_file(&subdir), libc::EISDIR, "unlink of a directory")
}

fn nlink(path: &Path) -> Result<u64, Failure> {
    Ok(fs::symlink_metadata(path)?.nlink())
}

fn hard_link(dir: &Path) -> Result<(), Failure> {
    let (a, b) = (dir.join("a"), dir.join("b"));
    fs::write(&a, "one")?;
    fs::hard_link(&a, &b)?;
    require!(
        fs::metadata(&a)?.ino() == fs::metadata(&b)?.ino(),
        "two names of one file have different inode numbers"
    );
    has_links(&fs::metadata(&a)?, 2, "a file of two names")?;
    fs::write(&b, "two")?;
    require!(
        uncached::read(&a)? == b"two",
        "a write through one name is not seen through the other"
    );
    expect_errno(fs::hard_link(&a, &b), libc::EEXIST, "a link onto a name in use")?;
    fs::remove_file(&a)?;
    require!(
        uncached::read(&b)? == b"two" && nlink(&b)? == 1,
        "after the unlink the other name has other content or another link count"
    );
    Ok(())
}

/// Links made from links, in several directories, are as good as the first name.
fn many_hard_links(dir: &Path) -> Result<(), Failure> {
    /// POSIX's least value of LINK_MAX.
    const LEAST: usize = 8;
    let mut lacking = Lacking::default();
    let mut names = vec![dir.join("0")];
    fs::write(&names[0], "content")?;
    for number in 1..500 {
        let parent = dir.join(format!("dir-{}", number % 5));
        fs::create_dir_all(&parent)?;
        let name = parent.join(number.to_string());
        match fs::hard_link(&names[number - 1], &name) {
            Err(error) if error.raw_os_error() == Some(libc::EMLINK) && number >= LEAST => {
                let told = format!("name {} of a file", number + 1);
                lacking.note(Err(error).context(told).by_contract(MANY_NAMES))?;
                break;
            }
            linked => linked?,
        }
        names.push(name);
    }
    let last = names[names.len() - 1].clone();
    for (gone, name) in names.iter().enumerate() {
        let left = names.len() - gone;
        has_links(&fs::metadata(&last)?, left as u64, "a file of as many names")?;
        require!(uncached::read(name)? == b"content", "the content went with another name");
        fs::remove_file(name)?;
    }
    lacking.told()
}

fn hard_links_to_other_kinds(dir: &Path) -> Result<(), Failure> {
    let (subdir, target, link) = (dir.join("subdir"), dir.join("target"), dir.join("link"));
    fs::create_dir(&subdir)?;
    expect_errno(fs::hard_link(&subdir, dir.join("x")), libc::EPERM, "a link to a directory")?;
    expect_errno(fs::hard_link(&target, dir.join("x")), libc::ENOENT, "a link to nothing")?;
    fs::write(&target, "content")?;
    symlink("target", &link)?;
    fs::hard_link(&link, dir.join("itself")).context("a link to a symbolic link")?;
    let itself = fs::symlink_metadata(dir.join("itself"))?;
    require!(
        itself.is_symlink() && nlink(&link)? == 2,
        "the new name is not a hard link to the symbolic link"
    );
    linkat(CWD, &link, CWD, dir.join("followed"), AtFlags::SYMLINK_FOLLOW)
        .context("a link to what a symbolic link stands for")?;
    require!(nlink(&target)? == 2, "the new name is not a hard link to the target");
    Ok(())
}

fn symbolic_link(dir: &Path) -> Result<(), Failure> {
    let (target, link) = (dir.join("target"), dir.join("link"));
    symlink("target", &link)?;
    expect_errno(uncached::read(&link), libc::ENOENT, "reading a dangling link")?;
    fs::write(&target, "content")?;
    require!(uncached::read(&link)? == b"content", "the link leads elsewhere");
    require!(fs::read_link(&link)? == Path::new("target"), "readlink returns another target");
    let metadata = fs::symlink_metadata(&link)?;
    require!(
        metadata.is_symlink() && metadata.len() == 6,
        "lstat does not report a symbolic link of 6 bytes"
    );
    expect_errno(symlink("x", &link), libc::EEXIST, "a link where there is one")?;
    expect_errno(fs::read_link(&target), libc::EINVAL, "readlink of a file")?;
    fs::rename(&link, dir.join("moved"))?;
    require!(uncached::read(dir.join("moved"))? == b"content", "a renamed link leads elsewhere");
    Ok(())
}

fn symbolic_links_are_as_long_as_paths(dir: &Path) -> Result<(), Failure> {
    let link = dir.join("link");
    let longest = "./".repeat(2_047) + "x";
    require!(longest.len() == 4_095, "a path has at most 4,095 bytes");
    let longer = symlink("y".repeat(4_096), dir.join("longer"));
    expect_errno(longer, libc::ENAMETOOLONG, "a link of 4,096 bytes")?;
    expect_errno(symlink("", dir.join("empty")), libc::ENOENT, "a link to an empty path")?;
    symlink(&longest, &link).context("a link of 4,095 bytes").by_contract(LONG_SYMLINKS)?;
    require!(fs::read_link(&link)? == Path::new(&longest), "readlink gives another path");
    // The link resolves to its target, as part of another path.
    fs::write(dir.join("x"), "x")?;
    require!(uncached::read(&link)? == b"x", "the longest link leads elsewhere");
    Ok(())
}

fn symbolic_links_end_in_eloop(dir: &Path) -> Result<(), Failure> {
    symlink("there", dir.join("here"))?;
    symlink("here", dir.join("there"))?;
    expect_errno(File::open(dir.join("here")), libc::ELOOP, "a link to itself, by another")?;
    // path_resolution(7): at most 40 links are followed.
    fs::write(dir.join("0"), "end")?;
    for number in 1..=41 {
        symlink((number - 1).to_string(), dir.join(number.to_string()))?;
    }
    require!(uncached::read(dir.join("40"))? == b"end", "a chain of 40 links leads elsewhere");
    expect_errno(uncached::read(dir.join("41")), libc::ELOOP, "a chain of 41 links")
}

fn long_and_odd_names(dir: &Path) -> Result<(), Failure> {
    let named = |name: &str| -> Result<(), Failure> {
        let path = dir.join(name);
        fs::write(&path, name)?;
        require!(uncached::read(&path)? == name.as_bytes(), "{name:?} has other content");
        Ok(())
    };
    let longest = longest_name(dir)?;
    for name in [&"y".repeat(longest), "zwei Wörter", "-rf", "\u{1F9ED}"] {
        named(name)?;
    }
    named(&"x".repeat(255)).by_contract(NAMES)?;
    let long = dir.join("x".repeat(256));
    let refused = |result: io::Result<()>, what: &str| {
        expect_errno(result, libc::ENAMETOOLONG, what).by_contract(NAMES)
    };
    refused(fs::write(&long, ""), "a name of 256 bytes")?;
    refused(fs::create_dir(&long), "a directory of 256 bytes")?;
    refused(fs::rename(dir.join("-rf"), &long), "a rename to 256 bytes")
}
