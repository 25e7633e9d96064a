//! The set-user-ID and set-group-ID bits: which changes clear them, and what they do to
//! directories.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{
    DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown,
};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};

use super::mapped::Mapping;
use super::operation::{Operation, operations};
use super::users::{NOBODY, SOMEBODY, as_user};

pub(super) const OPERATIONS: &[Operation] = operations![
    changed_files_lose_set_id.as_root(),
    chown_drops_set_id.as_root(),
    chmod_drops_set_group_id_of_a_strangers_group.as_root(),
    set_group_id_directories_pass_their_group_on.as_root(),
];

/// A file that belongs to nobody and that anybody may write to.
fn set_id_file(dir: &Path, mode: u32) -> Result<std::path::PathBuf, Failure> {
    let path = dir.join("f");
    fs::write(&path, "content")?;
    chown(&path, Some(NOBODY), Some(NOBODY))?;
    fs::set_permissions(&path, Permissions::from_mode(mode))?;
    Ok(path)
}

fn expect_mode(path: &Path, due: u32, what: &str) -> Result<(), Failure> {
    let mode = fs::metadata(path)?.mode() & 0o7777;
    require!(mode == due, "mode {mode:o} after {what}, expected {due:o}");
    Ok(())
}

type SetIdChange = fn(&File) -> std::io::Result<()>;

fn changed_files_lose_set_id(dir: &Path) -> Result<(), Failure> {
    let changes: [(&str, SetIdChange); 3] = [
        ("write", |file| file.write_all_at(b"x", 0)),
        ("ftruncate", |file| file.set_len(3)),
        ("a longer write", |file| file.write_all_at(&[1; 10_000], 1)),
    ];
    for (what, change) in changes {
        for user in [NOBODY, SOMEBODY] {
            let path = set_id_file(dir, 0o6777)?;
            as_user(user, user, || Ok(change(&OpenOptions::new().write(true).open(&path)?)?))?;
            expect_mode(&path, 0o777, &format!("{what} by user {user}"))?;
        }
        let path = set_id_file(dir, 0o6777)?;
        change(&OpenOptions::new().write(true).open(&path)?)?;
        expect_mode(&path, 0o6777, &format!("{what} by root, who may set them"))?;
    }
    // Reading clears no bits.
    let path = set_id_file(dir, 0o6777)?;
    as_user(SOMEBODY, SOMEBODY, || Ok(uncached::read(&path)?))?;
    let file = File::options().read(true).write(true).open(&path)?;
    drop(Mapping::shared(&file, 7)?);
    expect_mode(&path, 0o6777, "reading and mapping")
}

fn chown_drops_set_id(dir: &Path) -> Result<(), Failure> {
    let path = set_id_file(dir, 0o6755)?;
    chown(&path, Some(SOMEBODY), None)?;
    expect_mode(&path, 0o755, "chown by root")?;
    let path = set_id_file(dir, 0o6755)?;
    as_user(NOBODY, NOBODY, || chown(&path, None, Some(NOBODY)).context("chgrp by the owner"))?;
    expect_mode(&path, 0o755, "chgrp by the owner")?;
    let subdir = dir.join("subdir");
    DirBuilder::new().create(&subdir)?;
    fs::set_permissions(&subdir, Permissions::from_mode(0o2755))?;
    chown(&subdir, Some(NOBODY), Some(NOBODY))?;
    expect_mode(&subdir, 0o2755, "chown of a directory")
}

fn chmod_drops_set_group_id_of_a_strangers_group(dir: &Path) -> Result<(), Failure> {
    let path = set_id_file(dir, 0o755)?;
    let chmod = |mode| {
        let permissions = Permissions::from_mode(mode);
        as_user(NOBODY, NOBODY, || fs::set_permissions(&path, permissions).context("chmod"))
    };
    chmod(0o2755)?;
    expect_mode(&path, 0o2755, "chmod g+s by a member of the group")?;
    chown(&path, None, Some(SOMEBODY))?;
    chmod(0o2755)?;
    expect_mode(&path, 0o755, "chmod g+s by a user outside the group")
}

fn set_group_id_directories_pass_their_group_on(dir: &Path) -> Result<(), Failure> {
    let shared = dir.join("shared");
    fs::create_dir(&shared)?;
    chown(&shared, None, Some(SOMEBODY))?;
    fs::set_permissions(&shared, Permissions::from_mode(0o2777))?;
    as_user(NOBODY, NOBODY, || {
        fs::write(shared.join("f"), "")?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o2775).open(shared.join("s"))?;
        DirBuilder::new().mode(0o755).create(shared.join("d")).context("mkdir")
    })?;
    for name in ["f", "s", "d"] {
        let metadata = fs::metadata(shared.join(name))?;
        let owner = (metadata.uid(), metadata.gid());
        require!(owner == (NOBODY, SOMEBODY), "{name} belongs to {owner:?}");
    }
    expect_mode(&shared.join("d"), 0o2755, "mkdir in a directory that passes its group on")?;
    let mode = fs::metadata(shared.join("s"))?.mode() & 0o7777;
    require!(
        mode & 0o2000 == 0,
        "a user outside the group made a set-group-ID file: mode {mode:o}"
    );
    Ok(())
}
