//! Permissions of users other than the one who mounted the file system.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::expect::expect_errno;
use super::operation::{Operation, operations};
use super::users::{NOBODY, SOMEBODY, as_user};

pub(super) const OPERATIONS: &[Operation] = operations![
    owner_is_who_created.as_root(),
    others_are_refused.as_root(),
    groups_are_let_in.as_root(),
    only_owners_change_attributes.as_root(),
    sticky_directories_protect.as_root(),
    root_may_do_all_but_execute.as_root(),
];

fn chmod(path: &Path, mode: u32) -> Result<(), Failure> {
    fs::set_permissions(path, Permissions::from_mode(mode)).context("chmod")
}

/// A file that its owner (root) may write to, and others may read.
fn file_of_root(dir: &Path, mode: u32) -> Result<std::path::PathBuf, Failure> {
    let path = dir.join(format!("root-{mode:o}"));
    fs::write(&path, "root's")?;
    chmod(&path, mode)?;
    Ok(path)
}

fn owner_is_who_created(dir: &Path) -> Result<(), Failure> {
    chmod(dir, 0o1777)?;
    as_user(NOBODY, SOMEBODY, || {
        fs::write(dir.join("f"), "nobody's")?;
        fs::create_dir(dir.join("d"))?;
        std::os::unix::fs::symlink("f", dir.join("l")).context("symlink")?;
        Ok(fs::hard_link(dir.join("f"), dir.join("second"))?)
    })?;
    for name in ["f", "d", "l", "second"] {
        let metadata = fs::symlink_metadata(dir.join(name))?;
        let owner = (metadata.uid(), metadata.gid());
        require!(owner == (NOBODY, SOMEBODY), "{name} belongs to {owner:?}");
    }
    Ok(())
}

fn others_are_refused(dir: &Path) -> Result<(), Failure> {
    let (secret, readable) = (file_of_root(dir, 0o600)?, file_of_root(dir, 0o644)?);
    let closed = dir.join("closed");
    DirBuilder::new().mode(0o700).create(&closed)?;
    fs::write(closed.join("f"), "root's")?;
    let listable = dir.join("listable");
    DirBuilder::new().mode(0o744).create(&listable)?;
    fs::write(listable.join("f"), "root's")?;
    as_user(NOBODY, NOBODY, || {
        let refused = |result: std::io::Result<()>, what| expect_errno(result, libc::EACCES, what);
        refused(File::open(&secret).map(drop), "reading a file of mode 600")?;
        let write = OpenOptions::new().write(true).open(&readable).map(drop);
        refused(write, "writing to a file of mode 644")?;
        require!(uncached::read(&readable)? == b"root's", "a file of mode 644 cannot be read");
        refused(
            uncached::read(closed.join("f")).map(drop),
            "a path through a directory of mode 700",
        )?;
        refused(fs::read_dir(&closed).map(drop), "listing a directory of mode 700")?;
        require!(fs::read_dir(&listable)?.count() == 1, "mode 744 cannot be listed");
        refused(fs::metadata(listable.join("f")).map(drop), "a path through mode 744")?;
        refused(fs::write(dir.join("new"), ""), "creating in root's directory")?;
        refused(fs::create_dir(dir.join("new")), "mkdir in root's directory")?;
        refused(fs::remove_file(&readable), "unlink in root's directory")?;
        refused(fs::rename(&readable, dir.join("new")), "rename in root's directory")?;
        let access = accessat(CWD, &secret, Access::READ_OK, AtFlags::empty());
        expect_errno(access, libc::EACCES, "access(2) to a file of mode 600")
    })
}

fn groups_are_let_in(dir: &Path) -> Result<(), Failure> {
    let path = file_of_root(dir, 0o640)?;
    chown(&path, None, Some(SOMEBODY))?;
    as_user(NOBODY, SOMEBODY, || Ok(File::open(&path)?))?;
    let stranger = as_user(NOBODY, NOBODY, || Ok(File::open(&path)))?;
    expect_errno(stranger, libc::EACCES, "reading with another group")?;
    // The user's own class decides, even if another class would allow the access.
    chmod(&path, 0o604)?;
    let member = as_user(NOBODY, SOMEBODY, || Ok(File::open(&path)))?;
    expect_errno(member, libc::EACCES, "reading by the group, where only others may")?;
    as_user(NOBODY, NOBODY, || Ok(File::open(&path)?)).map(drop)
}

fn only_owners_change_attributes(dir: &Path) -> Result<(), Failure> {
    let path = file_of_root(dir, 0o666)?;
    let mine = dir.join("mine");
    fs::write(&mine, "")?;
    chown(&mine, Some(NOBODY), Some(NOBODY))?;
    as_user(NOBODY, NOBODY, || {
        let chmodded = fs::set_permissions(&path, Permissions::from_mode(0o777));
        expect_errno(chmodded, libc::EPERM, "chmod of root's file")?;
        expect_errno(chown(&path, Some(NOBODY), None), libc::EPERM, "taking root's file")?;
        let file = OpenOptions::new().write(true).open(&path)?;
        let times = file.set_modified(std::time::UNIX_EPOCH);
        expect_errno(times, libc::EPERM, "setting the times of root's file")?;
        fs::set_permissions(&mine, Permissions::from_mode(0o600)).context("chmod of one's own")?;
        File::open(&mine)?.set_modified(std::time::UNIX_EPOCH).context("times of one's own")?;
        expect_errno(chown(&mine, Some(SOMEBODY), None), libc::EPERM, "giving a file away")?;
        expect_errno(chown(&mine, None, Some(SOMEBODY)), libc::EPERM, "a group one is not in")
    })
}

fn sticky_directories_protect(dir: &Path) -> Result<(), Failure> {
    chmod(dir, 0o1777)?;
    let (theirs, mine) = (dir.join("theirs"), dir.join("mine"));
    fs::write(&theirs, "")?;
    chown(&theirs, Some(SOMEBODY), None)?;
    as_user(NOBODY, NOBODY, || {
        expect_errno(fs::remove_file(&theirs), libc::EPERM, "unlink of another's file")?;
        expect_errno(fs::rename(&theirs, dir.join("x")), libc::EPERM, "rename of another's file")?;
        fs::write(&mine, "")?;
        expect_errno(fs::rename(&mine, &theirs), libc::EPERM, "a rename over another's file")?;
        fs::rename(&mine, dir.join("renamed")).context("rename of one's own")?;
        fs::remove_file(dir.join("renamed")).context("unlink of one's own")
    })?;
    as_user(SOMEBODY, NOBODY, || fs::remove_file(&theirs).context("unlink by the owner"))
}

fn root_may_do_all_but_execute(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("program");
    fs::copy("/bin/true", &path)?;
    chown(&path, Some(NOBODY), Some(NOBODY))?;
    chmod(&path, 0o000)?;
    File::options().read(true).write(true).open(&path).context("opening a file of mode 000")?;
    let run = Command::new(&path).status();
    expect_errno(run, libc::EACCES, "running a file that is executable for nobody")?;
    chmod(&path, 0o001)?;
    require!(Command::new(&path).status()?.success(), "root may not run what others may");
    Ok(())
}
