//! Flags of open(2), and files that stay open while their names are removed.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};

use super::expect::{expect_errno, has_links, noise, same, same_bytes};
use super::operation::{Operation, operations};
use super::threads::in_threads;

pub(super) const OPERATIONS: &[Operation] = operations![
    append,
    two_writers_append,
    open_truncates,
    exclusive_create,
    open_refuses_what_it_cannot_give,
    temporary_file_or_eopnotsupp,
    unlink_while_open,
];

fn append(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let mut expected = Vec::new();
    for round in 0..20_u8 {
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        // O_APPEND writes at the end, whatever the offset is.
        file.seek(SeekFrom::Start(0))?;
        let chunk = vec![round; 999];
        file.write_all(&chunk)?;
        expected.extend(chunk);
    }
    same(&path, &expected)
}

fn two_writers_append(dir: &Path) -> Result<(), Failure> {
    const RECORD: usize = 100;
    const RECORDS: usize = 300;
    let path = dir.join("f");
    File::create(&path)?;
    in_threads(2, |writer| {
        let file = OpenOptions::new().append(true).open(&path)?;
        for _ in 0..RECORDS {
            let written = (&file).write(&[writer as u8; RECORD])?;
            require!(written == RECORD, "an append wrote {written} bytes of a record of {RECORD}");
        }
        Ok(())
    })?;
    let content = uncached::read(&path)?;
    require!(
        content.len() == 2 * RECORDS * RECORD,
        "the file has {} bytes after the appends of two writers",
        content.len()
    );
    let whole = |record: &[u8]| record.iter().all(|&byte| byte == record[0]);
    require!(content.chunks(RECORD).all(whole), "a record was torn by the other writer");
    let ones = content.iter().filter(|&&byte| byte == 1).count();
    require!(
        ones == RECORDS * RECORD,
        "{ones} bytes are the second writer's, expected half of the file"
    );
    Ok(())
}

fn open_truncates(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    fs::write(&path, noise(5_000))?;
    drop(OpenOptions::new().write(true).truncate(true).open(&path)?);
    same(&path, &[])
}

fn exclusive_create(dir: &Path) -> Result<(), Failure> {
    let (path, link) = (dir.join("f"), dir.join("dangling"));
    let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
    drop(create(&path)?);
    expect_errno(create(&path), libc::EEXIST, "O_EXCL on a file that is there")?;
    symlink("nowhere", &link).context("symlink(2), which this needs")?;
    expect_errno(create(&link), libc::EEXIST, "O_EXCL on a dangling link")?;
    require!(!dir.join("nowhere").exists(), "O_EXCL followed a link");
    File::options().write(true).create(true).truncate(false).open(&link)?;
    require!(dir.join("nowhere").exists(), "O_CREAT did not follow a link");
    Ok(())
}

fn open_refuses_what_it_cannot_give(dir: &Path) -> Result<(), Failure> {
    let (file, link) = (dir.join("f"), dir.join("link"));
    fs::write(&file, "f")?;
    symlink("f", &link).context("symlink(2), which this needs")?;
    let open = |path: &Path, flags: OFlags| openat(CWD, path, flags, Mode::from_raw_mode(0o644));
    for (path, flags, errno, what) in [
        (dir, OFlags::WRONLY, libc::EISDIR, "a directory opened for writing"),
        (&file, OFlags::DIRECTORY, libc::ENOTDIR, "a file opened as a directory"),
        (&link, OFlags::NOFOLLOW, libc::ELOOP, "a link opened with O_NOFOLLOW"),
        (&dir.join("none"), OFlags::RDWR, libc::ENOENT, "a file that is not there"),
        (&file.join("below"), OFlags::RDONLY, libc::ENOTDIR, "a path through a file"),
        (&dir.join("new/"), OFlags::CREATE, libc::EISDIR, "a file created as \"new/\""),
    ] {
        expect_errno(open(path, flags), errno, what)?;
    }
    let read_only = File::open(&file)?;
    expect_errno((&read_only).write(b"x"), libc::EBADF, "a write to a descriptor for reading")?;
    expect_errno(read_only.set_len(0), libc::EINVAL, "ftruncate of a descriptor for reading")?;
    same(&file, b"f")
}

/// FUSE has O_TMPFILE only if its library passes it on.
fn temporary_file_or_eopnotsupp(dir: &Path) -> Result<(), Failure> {
    let temporary = |flags| {
        openat(
            CWD,
            dir,
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | flags,
            Mode::RUSR | Mode::WUSR,
        )
    };
    let file = match temporary(OFlags::empty()) {
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        opened => File::from(opened.context("open with O_TMPFILE")?),
    };
    file.write_all_at(b"content", 0)?;
    has_links(&file.metadata()?, 0, "a file without a name")?;
    require!(fs::read_dir(dir)?.count() == 0, "a file without a name is listed");
    let link = |file: &File, name: &str| {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        linkat(CWD, path, CWD, dir.join(name), AtFlags::SYMLINK_FOLLOW)
    };
    link(&file, "f").context("a name for it")?;
    same(&dir.join("f"), b"content")?;
    has_links(&file.metadata()?, 1, "a temporary file that was given a name")?;
    let never = File::from(temporary(OFlags::EXCL).context("open with O_TMPFILE and O_EXCL")?);
    expect_errno(link(&never, "g"), libc::ENOENT, "a name for a file that must have none")
}

fn unlink_while_open(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    let bytes = noise(9_000);
    fs::write(&path, &bytes)?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    fs::remove_file(&path)?;
    require!(!path.exists(), "the name is still there");
    file.seek(SeekFrom::End(0))?;
    file.write_all(b"more")?;
    file.seek(SeekFrom::Start(0))?;
    let mut read = Vec::new();
    file.read_to_end(&mut read)?;
    same_bytes(&read, &[&bytes[..], b"more"].concat())?;
    has_links(&file.metadata()?, 0, "an open file without a name")?;
    file.set_len(10)?;
    require!(file.metadata()?.len() == 10, "an unlinked file cannot be truncated");
    Ok(())
}
