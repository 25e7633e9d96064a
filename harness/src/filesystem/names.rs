//! Names, directories and links.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::Operation;
use super::data::expect_errno;
use crate::failure::{Failure, While};
use crate::require;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "rename", check: rename },
    Operation { name: "rename_over", check: rename_over },
    Operation { name: "rename_noreplace", check: rename_noreplace },
    Operation { name: "rename_exchange", check: rename_exchange },
    Operation { name: "rename_directory", check: rename_directory },
    Operation { name: "unlink", check: unlink },
    Operation { name: "hard_link", check: hard_link },
    Operation { name: "symbolic_link", check: symbolic_link },
    Operation { name: "mkdir_and_rmdir", check: mkdir_and_rmdir },
    Operation { name: "readdir_1000", check: readdir_1000 },
    Operation { name: "long_and_odd_names", check: long_and_odd_names },
];

fn rename(dir: &Path) -> Result<(), Failure> {
    let (old, new) = (dir.join("old"), dir.join("new"));
    fs::write(&old, "content")?;
    let inode = fs::metadata(&old)?.ino();
    fs::rename(&old, &new)?;
    require!(!old.exists(), "the old name is still there");
    require!(fs::read(&new)? == b"content", "the new name has other content");
    require!(fs::metadata(&new)?.ino() == inode, "the inode number changed");
    Ok(())
}

fn rename_over(dir: &Path) -> Result<(), Failure> {
    let (source, target) = (dir.join("source"), dir.join("target"));
    fs::write(&source, "source")?;
    fs::write(&target, "target, longer")?;
    let open = fs::File::open(&target)?;
    fs::rename(&source, &target)?;
    require!(fs::read(&target)? == b"source", "the target has not the source's content");
    require!(!source.exists(), "the source is still there");
    require!(io::read_to_string(open)? == "target, longer", "the replaced file lost its content");
    Ok(())
}

/// renameat2(2), which the standard library does not have.
fn rename_with(old: &Path, new: &Path, flags: u32) -> io::Result<()> {
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let (old, new) = (path(old)?, path(new)?);
    // SAFETY: both are NUL-terminated strings that live through the call.
    match unsafe {
        libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), flags)
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn rename_noreplace(dir: &Path) -> Result<(), Failure> {
    let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
    fs::write(&a, "a")?;
    fs::write(&b, "b")?;
    let refused = rename_with(&a, &b, libc::RENAME_NOREPLACE);
    expect_errno(refused, libc::EEXIST, "RENAME_NOREPLACE onto a file that is there")?;
    require!(fs::read(&a)? == b"a" && fs::read(&b)? == b"b", "a refused rename changed a file");
    rename_with(&a, &c, libc::RENAME_NOREPLACE).when("RENAME_NOREPLACE onto a free name")?;
    require!(fs::read(&c)? == b"a", "the new name has other content");
    Ok(())
}

fn rename_exchange(dir: &Path) -> Result<(), Failure> {
    let (file, subdir) = (dir.join("file"), dir.join("subdir"));
    fs::write(&file, "f")?;
    fs::create_dir(&subdir)?;
    rename_with(&file, &subdir, libc::RENAME_EXCHANGE).when("RENAME_EXCHANGE")?;
    require!(
        file.is_dir() && fs::read(&subdir)? == b"f",
        "file and directory did not change places"
    );
    Ok(())
}

fn rename_directory(dir: &Path) -> Result<(), Failure> {
    let (one, two) = (dir.join("one"), dir.join("two"));
    fs::create_dir(&one)?;
    fs::write(one.join("f"), "f")?;
    fs::rename(&one, &two)?;
    require!(fs::read(two.join("f"))? == b"f", "what was in the directory is not there");
    expect_errno(
        fs::rename(&two, two.join("inside")),
        libc::EINVAL,
        "a directory renamed into itself",
    )?;
    fs::create_dir(&one)?;
    expect_errno(fs::rename(&one, &two), libc::ENOTEMPTY, "a rename onto a full directory")
}

fn unlink(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    fs::write(&path, "f")?;
    fs::remove_file(&path)?;
    expect_errno(fs::metadata(&path), libc::ENOENT, "stat of an unlinked file")?;
    expect_errno(fs::remove_file(&path), libc::ENOENT, "a second unlink")?;
    require!(fs::read_dir(dir)?.count() == 0, "an unlinked name is still listed");
    Ok(())
}

fn hard_link(dir: &Path) -> Result<(), Failure> {
    let (a, b) = (dir.join("a"), dir.join("b"));
    fs::write(&a, "one")?;
    fs::hard_link(&a, &b)?;
    require!(fs::metadata(&a)?.ino() == fs::metadata(&b)?.ino(), "two inodes");
    require!(fs::metadata(&a)?.nlink() == 2, "nlink {}", fs::metadata(&a)?.nlink());
    fs::write(&b, "two")?;
    require!(fs::read(&a)? == b"two", "a write through one name is not seen through the other");
    fs::remove_file(&a)?;
    require!(fs::read(&b)? == b"two" && fs::metadata(&b)?.nlink() == 1, "the other name suffered");
    Ok(())
}

fn symbolic_link(dir: &Path) -> Result<(), Failure> {
    let (target, link) = (dir.join("target"), dir.join("link"));
    symlink("target", &link)?;
    expect_errno(fs::read(&link), libc::ENOENT, "reading a dangling link")?;
    fs::write(&target, "content")?;
    require!(fs::read(&link)? == b"content", "the link leads elsewhere");
    require!(fs::read_link(&link)? == Path::new("target"), "readlink says something else");
    require!(fs::symlink_metadata(&link)?.file_type().is_symlink(), "the link is no link");
    Ok(())
}

fn mkdir_and_rmdir(dir: &Path) -> Result<(), Failure> {
    let (outer, inner) = (dir.join("outer"), dir.join("outer/inner"));
    fs::create_dir_all(&inner)?;
    require!(fs::metadata(&outer)?.nlink() == 3, "nlink {}", fs::metadata(&outer)?.nlink());
    expect_errno(fs::create_dir(&outer), libc::EEXIST, "mkdir of what is there")?;
    expect_errno(fs::remove_dir(&outer), libc::ENOTEMPTY, "rmdir of a full directory")?;
    fs::remove_dir(&inner)?;
    fs::remove_dir(&outer)?;
    require!(!outer.exists(), "the directory is still there");
    Ok(())
}

fn readdir_1000(dir: &Path) -> Result<(), Failure> {
    let expected: BTreeSet<String> = (0..1000).map(|number| format!("file-{number:04}")).collect();
    for name in &expected {
        fs::File::create(dir.join(name))?;
    }
    let mut listed = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        require!(entry.file_type()?.is_file(), "{:?} is listed as no file", entry.file_name());
        let name = entry.file_name().to_string_lossy().into_owned();
        require!(listed.insert(name.clone()), "{name} is listed twice");
    }
    require!(listed == expected, "{} of 1,000 names are listed", listed.len());
    Ok(())
}

fn long_and_odd_names(dir: &Path) -> Result<(), Failure> {
    for name in ["x".repeat(255), "zwei Wörter".into(), "-rf".into(), "\u{1F9ED}".into()] {
        let path = dir.join(&name);
        fs::write(&path, &name)?;
        require!(fs::read(&path)? == name.as_bytes(), "{name:?} has other content");
    }
    let refused = fs::write(dir.join("x".repeat(256)), "");
    expect_errno(refused, libc::ENAMETOOLONG, "a name of 256 bytes")
}
