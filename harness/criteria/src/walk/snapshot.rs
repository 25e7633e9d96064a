//! What a user can tell of a directory, as lines that can be compared: everything below it and
//! every open descriptor. fixtures/walk/replay.py writes the same lines.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use evidence::digest::sha256;
use rustix::fs::{Dir, fgetxattr, flistxattr, lgetxattr, llistxattr};

use super::outcome::Outcome;

/// Longer files are not read. No walk makes one, so the size shows the difference.
const LONGEST: u64 = 64 << 20;
/// Times before it were set, later ones are a clock's.
const CLOCK: i64 = 1_500_000_000;

/// The lines of all that is below `root`, but for `slots`' indexes, of which `index` tells.
pub fn tree(root: &Path, index: &mut dyn FnMut(&File, &mut Vec<String>, &str)) -> Vec<String> {
    let mut lines = Vec::new();
    below(root, "", &mut lines, index);
    lines
}

fn below(
    root: &Path,
    path: &str,
    lines: &mut Vec<String>,
    index: &mut dyn FnMut(&File, &mut Vec<String>, &str),
) {
    let full = root.join(path);
    let shown = if path.is_empty() { "." } else { path };
    let metadata = match fs::symlink_metadata(&full) {
        Ok(metadata) => metadata,
        Err(error) => return lines.push(refused(shown, &error)),
    };
    let kind = metadata.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(&full).unwrap_or_default();
        let xattrs =
            xattrs(|list| llistxattr(&full, list), |name, value| lgetxattr(&full, name, value));
        let target = target.display();
        lines.push(format!("{shown} {} -> {target} {xattrs}", facts(&metadata)));
        return;
    }
    let file = match open(&full) {
        Ok(file) => file,
        Err(error) => return lines.push(refused(shown, &error)),
    };
    lines.push(format!("{shown} {}", of(&file, &metadata)));
    if kind.is_file() {
        index(&file, lines, shown);
    }
    if kind.is_dir() {
        // By this descriptor, which has O_NOATIME.
        let mut names: Vec<_> = match Dir::new(file) {
            Ok(entries) => entries.flatten().map(|entry| entry.file_name().to_owned()).collect(),
            Err(error) => return lines.push(refused(shown, &error.into())),
        };
        names.retain(|name| ![c".", c".."].contains(&name.as_c_str()));
        names.sort();
        for name in names {
            let name = name.to_string_lossy();
            let path = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
            below(root, &path, lines, index);
        }
    }
}

/// The line of an open descriptor, by any name or none.
pub fn descriptor(
    number: usize,
    file: &File,
    index: &mut dyn FnMut(&File, &mut Vec<String>, &str),
) -> Vec<String> {
    let shown = format!("descriptor {number}");
    match file.metadata() {
        Err(error) => vec![refused(&shown, &error)],
        Ok(metadata) => {
            let mut lines = vec![format!("{shown} {}", of(file, &metadata))];
            if metadata.is_file() {
                index(file, &mut lines, &shown);
            }
            lines
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOATIME | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn refused(shown: &str, error: &io::Error) -> String {
    let errno = error.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw);
    format!("{shown} {}", Outcome::Refused(errno).words())
}

/// What an open file and its metadata tell.
fn of(file: &File, metadata: &fs::Metadata) -> String {
    let content = if metadata.is_file() { content(file, metadata.len()) } else { String::new() };
    let xattrs = xattrs(|list| flistxattr(file, list), |name, value| fgetxattr(file, name, value));
    let accessed = time(metadata.atime(), metadata.atime_nsec());
    format!("{} accessed {accessed} {content}{xattrs}", facts(metadata))
}

fn facts(metadata: &fs::Metadata) -> String {
    let size = if metadata.is_dir() { 0 } else { metadata.len() };
    format!(
        "{:o} links {} owner {}:{} size {size} modified {}",
        metadata.mode(),
        metadata.nlink(),
        metadata.uid(),
        metadata.gid(),
        time(metadata.mtime(), metadata.mtime_nsec()),
    )
}

fn time(seconds: i64, nanoseconds: i64) -> String {
    if seconds > CLOCK { "now".to_owned() } else { format!("{seconds}.{nanoseconds:09}") }
}

fn content(file: &File, length: u64) -> String {
    if length > LONGEST {
        return "bytes not read ".to_owned();
    }
    let mut bytes = vec![0; length as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {
            let beyond = file.read_at(&mut [0], length).unwrap_or(0);
            format!("bytes {} beyond {beyond} ", &sha256(&bytes)[..16])
        }
        // Not open for reading.
        Err(error) => format!("{} ", refused("bytes", &error)),
    }
}

fn xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&OsStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> String {
    let mut names = vec![0; 4_096];
    let length = match list(&mut names) {
        Ok(length) => length,
        Err(error) => return format!("xattrs {}", refused("list", &error.into())),
    };
    let mut all: Vec<String> = names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| name.starts_with(b"user."))
        .map(|name| {
            let mut value = vec![0; 4_096];
            let told = match get(OsStr::from_bytes(name), &mut value) {
                Ok(length) => sha256(&value[..length])[..8].to_owned(),
                Err(error) => refused("value", &error.into()),
            };
            format!("{}={told}", String::from_utf8_lossy(name))
        })
        .collect();
    all.sort();
    format!("xattrs [{}]", all.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_it_is_huge_is_not_read() {
        let room = tempfile::tempdir_in("/dev/shm").unwrap();
        File::create(room.path().join("f")).unwrap().set_len(1 << 42).unwrap();
        let lines = tree(room.path(), &mut |_, _, _| {});
        assert!(lines[1].contains("size 4398046511104 ") && lines[1].contains("bytes not read"));
    }
}
